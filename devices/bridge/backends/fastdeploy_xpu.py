# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""FastDeploy's draft verification on Kunlun XPUs: Paddle custom ops, called by position as
FastDeploy calls them. Contract draft_verification, sections 2, 4 and 6.

Paddle has no view of foreign memory on an XPU, so the ops get copies and what they wrote is
copied back: guards are not judged. The op draws for itself; see injected()."""
import importlib.metadata

import numpy

PROFILE = "fastdeploy-xpu"
OPTIONS = {"device": "xpu:0"}

TOPP, GREEDY = 0, 1
CANDIDATES = (2, 3, 4, 5, 8, 10)
# What this process has to know of the revision: found by probe().
FOUND = {"revision": "b", "calls": 0}
OPS = {}


def probe():
    import paddle
    found = {"driver": f"paddle {paddle.__version__}"}
    if not OPTIONS["double"]:
        if not paddle.is_compiled_with_xpu() or paddle.device.xpu.device_count() == 0:
            raise RuntimeError("no Kunlun XPU: this Paddle was not built for it, or sees none")
        paddle.set_device(OPTIONS["device"])
        found["hardware"] = "Kunlun XPU, " + OPTIONS["device"]
        found["build"] = "fastdeploy " + importlib.metadata.version("fastdeploy-xpu")
    from fastdeploy.model_executor.ops import xpu
    for name in ("verify_draft_tokens", "top_p_candidates", "gather_next_token"):
        if not hasattr(xpu, name):
            raise RuntimeError(f"fastdeploy.model_executor.ops.xpu has no {name}")
        OPS[name] = getattr(xpu, name)
    look_at_revision()
    found["build"] = ", ".join(filter(None, [found.get("build"),
                                             f"revision {FOUND['revision']}"]))
    return found


def up(array):
    import paddle
    return paddle.to_tensor(numpy.ascontiguousarray(array))


def look_at_revision():
    """One slot without drafts: revision b fills the cells behind its token with -1."""
    slots = {name: numpy.zeros(1, kind) for name, kind in (
        ("topp", "float32"), ("stop_flags", "bool"), ("seq_lens_encoder", "int32"),
        ("is_block_step", "bool"), ("reasoning_status", "int32"), ("step_idx", "int64"))}
    ids, _ = verify(
        slots | {"step_output_ids": numpy.full((1, 3), 7), "step_output_len": numpy.int32([0]),
                 "step_input_ids": numpy.full((1, 3), 9), "target_tokens": numpy.array([4]),
                 "seq_lens_this_time": numpy.int32([1]), "end_tokens": numpy.array([2]),
                 "cu_seqlens_q_output": numpy.int32([0, 1]), "max_dec_len": numpy.array([9])},
        (0, 2, GREEDY, False, False))
    rest = ids[0, 1:].tolist()
    if ids[0, 0] != 4 or rest not in ([-1, -1], [7, 7]):
        raise RuntimeError(f"verify_draft_tokens answered {ids.tolist()} to one slot without "
                           "drafts and target 4: neither revision that is known")
    FOUND["revision"] = "b" if rest == [-1, -1] else "a"


def supports(call):
    if call.op == "verify_draft_tokens":
        padding = {"a": "untouched", "b": "minus_one"}[FOUND["revision"]]
        if "max_dec_len" not in call or "step_idx" not in call:
            return "the op takes max_dec_len and step_idx always"
        rows, width = call.spec("seq_lens_this_time").shape[0], 1
        if "candidate_ids" in call:
            width = call.spec("candidate_ids").shape[1]
        if rows > 1024 or rows * width > 2048 or call.scalar("verify_window") * width > 128:
            return f"{rows} slots of {width} candidates: more than the op has room for"
        return call.unlike(verify__padding=padding, verify__length="written")
    if call.op == "top_p_candidates":
        width = call.spec("verify_tokens").shape[1]
        return None if width in CANDIDATES else f"{width} candidates: the op knows {CANDIDATES}"
    return None


# ---- draws ----

def mt19937_64(seed, skip):
    """Output number `skip` of the C++ engine of that name."""
    mask = (1 << 64) - 1
    state = [seed]
    for i in range(1, 312):
        state.append((6364136223846793005 * (state[-1] ^ state[-1] >> 62) + i) & mask)
    while True:
        for i in range(312):
            x = (state[i] & 0xffffffff80000000) | (state[(i + 1) % 312] & 0x7fffffff)
            state[i] = state[(i + 156) % 312] ^ x >> 1 ^ (0xb5026f5aa96619e9 if x & 1 else 0)
        if skip < 312:
            break
        skip -= 312
    y = state[skip]
    y ^= y >> 29 & 0x5555555555555555
    y ^= y << 17 & 0x71d67fffeda60000
    y ^= y << 37 & 0xfff7eee000000000
    return y ^ y >> 43


def own_draw(slot):
    """The uniform that the op draws for a slot in its next call (2.3): revision a has a fresh
    engine seeded 0 for each, b one of seed k + slot, forwarded by k, in call number k."""
    calls = FOUND["calls"] if FOUND["revision"] == "b" else 0
    seed = calls + slot if FOUND["revision"] == "b" else 0
    return numpy.uint64(mt19937_64(seed, calls)).astype("float32") / numpy.float32(2.0 ** 64)


def injected(arguments, draws):
    """The top_p with which the op's own draw falls where the case's draw falls under the
    case's. A slot's draw is used as u * top_p alone, against the sums of its candidates'
    scores; a revision that draws another u than it is known for gives itself away."""
    topp = arguments["topp"].copy()
    scores = arguments["candidate_scores"]
    starts, counts = arguments["cu_seqlens_q_output"], arguments["seq_lens_this_time"]
    for b in range(len(counts)):
        wanted, own = draws[b] * topp[b], own_draw(b)
        rows = scores[starts[b]:starts[b] + max(int(counts[b]), 1)]
        sums = numpy.cumsum(rows, axis=1, dtype=numpy.float32)
        value = numpy.float32(wanted / own)
        for _ in range(4):  # the product of the nearest may be one above
            if own * value <= wanted:
                break
            value = numpy.nextafter(value, numpy.float32(0))
        if not numpy.array_equal(sums >= wanted, sums >= own * value):
            raise RuntimeError(f"slot {b}: no top_p makes the op's draw {own} one of {draws[b]}")
        topp[b] = value
    return topp


# ---- ops ----

ORDER = ("step_output_ids", "step_output_len", "step_input_ids", "target_tokens",
         "candidate_ids", "candidate_scores", "candidate_lens", "topp", "stop_flags",
         "seq_lens_encoder", "seq_lens_this_time", "end_tokens", "is_block_step",
         "cu_seqlens_q_output", "reasoning_status", "max_dec_len", "step_idx")


def verify(arguments, attributes):
    tensors = [up(arguments[n]) if arguments.get(n) is not None else None for n in ORDER]
    OPS["verify_draft_tokens"](*tensors, *attributes)
    FOUND["calls"] += 1
    return tensors[0].numpy(), tensors[1].numpy()


def verify_draft_tokens(call):
    arguments = {name: call.numpy(name) for name in ORDER if name in call}
    if call.scalar("verify_strategy") == TOPP:
        arguments["topp"] = injected(arguments, call.numpy("u"))
    ids, lens = verify(arguments, (
        0, call.scalar("verify_window"), call.scalar("verify_strategy"),
        bool(call.scalar("reject_all")), bool(call.scalar("accept_all"))))
    return {"step_output_ids": ids, "step_output_len": lens}


def top_p_candidates(call):
    scores, ids, lens = OPS["top_p_candidates"](
        up(call.numpy("probs")), up(call.numpy("top_p")),
        up(call.numpy("batch_id_per_token_output")), call.spec("verify_tokens").shape[1], 0)
    return {"verify_scores": scores.numpy(), "verify_tokens": ids.numpy(),
            "actual_candidate_lens": lens.numpy()}


def gather_next_token(call):
    names = ("encoder_seq_lod", "decoder_seq_lod", "encoder_batch_map", "decoder_batch_map")
    maps = [call.numpy(name) for name in names]
    counts = numpy.int32([len(maps[2]), len(maps[3])])
    out = OPS["gather_next_token"](
        up(call.numpy("x")), *map(up, maps), *map(up, maps), up(counts),
        bool(call.scalar("is_speculative")), call.scalar("max_bsz")).numpy()
    if call.scalar("is_speculative"):
        return {"out": out}
    slots = numpy.concatenate(maps[2:])  # the others' rows are not initialised
    call.numpy("out")[slots] = out[slots]
    return None
