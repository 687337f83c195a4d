# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""Op double of FastDeploy's Kunlun ops on the CPU, in numpy, written from contract
draft_verification: fastdeploy.model_executor.ops.xpu, and as much of paddle as calling them
takes. VARIANT "a" leaves cells without a token alone and seeds every slot 0, "b" fills them with
-1 and draws by call and slot. It does what the ops are for, not what they get wrong."""
import sys
import types

import numpy

VARIANT = globals().get("VARIANT") or "b"
CALLS = [0]


class Tensor:
    """What paddle.to_tensor gives: its own copy, bf16 as its bits in uint16."""

    def __init__(self, array):
        self.array = numpy.array(array)
        self.shape = list(self.array.shape)

    def numpy(self):
        return self.array.copy()


class Engine:
    """std::mt19937_64, one number at a time."""

    def __init__(self, seed):
        self.words, self.at = numpy.zeros(312, dtype=object), 312
        self.words[0] = seed
        for i in range(1, 312):
            word = self.words[i - 1]
            self.words[i] = (6364136223846793005 * (word ^ (word >> 62)) + i) % 2 ** 64

    def refill(self):
        for i in range(312):
            low = self.words[(i + 1) % 312] % 2 ** 31
            joined = self.words[i] // 2 ** 31 * 2 ** 31 + low
            twist = 0xB5026F5AA96619E9 if joined % 2 else 0
            self.words[i] = self.words[(i + 156) % 312] ^ (joined // 2) ^ twist
        self.at = 0

    def next(self):
        if self.at == 312:
            self.refill()
        word = self.words[self.at]
        self.at += 1
        word ^= (word >> 29) & 0x5555555555555555
        word ^= (word << 17) & 0x71D67FFFEDA60000
        word ^= (word << 37) & 0xFFF7EEE000000000
        return word ^ (word >> 43)

    def uniform(self):
        """std::uniform_real_distribution<float>: fp32, and below 1."""
        value = numpy.uint64(self.next()).astype("float32") * numpy.float32(2.0 ** -64)
        return min(value, numpy.nextafter(numpy.float32(1), numpy.float32(0)))


def draw_of(slot, call):
    """2.3, the row "u source"."""
    if VARIANT == "a":
        return Engine(0).uniform()
    engine = Engine(call + slot)
    for _ in range(call):
        engine.next()
    return engine.uniform()


class Slot:
    """One slot of verify_draft_tokens (2.2)."""

    def __init__(self, ids, ends, generated, most):
        self.ids, self.ends, self.generated, self.most = ids, ends, generated, most
        self.length, self.stopped = 0, False

    def emit(self, position, token):
        self.generated += 1
        full = self.generated >= self.most
        if full and token not in self.ends:
            token = self.ends[0]
        self.ids[position] = token
        self.length += 1
        self.stopped = full or token in self.ends


def bulk(rows, drafts, i, n, window, base):
    """Position behind a bulk accept that starts at i, or None."""
    if rows.shape[1] < 2 or rows[base + i, 1] != drafts[i + 1]:
        return None
    at = i + 1
    while at < n - 1 and at - i - 1 < window and rows[base + at, 0] == drafts[at + 1]:
        at += 1
    return at if at - i - 1 == window else None


def final(row, scores, length, r):
    total = numpy.float32(0)
    for k in range(min(length, len(row))):
        total = total + scores[k]
        if r <= total:
            return row[k]
    return row[0]


def verify_draft_tokens(step_output_ids, step_output_len, step_input_ids, target_tokens,
                        candidate_ids, candidate_scores, candidate_lens, topp, stop_flags,
                        seq_lens_encoder, seq_lens_this_time, end_tokens, is_block_step,
                        cu_seqlens_q_output, reasoning_status, max_dec_len, step_idx,
                        max_seq_len, verify_window, verify_strategy, reject_all, accept_all):
    ids, lens, drafts = step_output_ids.array, step_output_len.array, step_input_ids.array
    by_candidates = verify_strategy == 0
    if by_candidates:
        rows, scores = candidate_ids.array, candidate_scores.array
        counts = candidate_lens.array
    else:
        targets = target_tokens.array.reshape(-1)
    lens[:] = 0
    if VARIANT == "b":
        ids[:] = -1
    call, CALLS[0] = CALLS[0], CALLS[0] + 1
    for b, n in enumerate(seq_lens_this_time.array.tolist()):
        if is_block_step.array[b] or stop_flags.array[b]:
            continue
        base, i = int(cu_seqlens_q_output.array[b]), 0
        slot = Slot(ids[b], end_tokens.array.tolist(), int(step_idx.array[b]),
                    int(max_dec_len.array[b]))
        single = reject_all or seq_lens_encoder.array[b] or reasoning_status.array[b] == 1
        while i < n - 1 and not single and not slot.stopped:
            draft = int(drafts[b, i + 1])
            if accept_all:
                known = True
            elif by_candidates:
                known = draft in rows[base + i, :min(counts[base + i], rows.shape[1])]
            else:
                known = targets[base + i] == draft
            if known:
                slot.emit(i, draft)
                i += not slot.stopped
                continue
            behind = bulk(rows, drafts[b], i, n, verify_window, base) if by_candidates else None
            if behind is None:
                break
            while i < behind and not slot.stopped:
                slot.emit(i, int(drafts[b, i + 1]))
                i += not slot.stopped
        if not slot.stopped and by_candidates:
            row = base + i
            slot.emit(i, int(final(rows[row], scores[row], int(counts[row]),
                                   draw_of(b, call) * topp.array[b])))
        elif not slot.stopped:
            slot.emit(i, int(targets[base + i]))
        lens[b] = slot.length


def as_fp32(array):
    return (array.astype("uint32") << 16).view("float32") if array.dtype == "uint16" \
        else array.astype("float32")


def top_p_candidates(probs, top_p, batch_id_per_token_output, candidates_len, max_seq_len):
    """-> scores, ids, lens (4.2); all C where their mass is short."""
    assert candidates_len in (2, 3, 4, 5, 8, 10)
    values, limits = as_fp32(probs.array), as_fp32(top_p.array)
    scores = numpy.zeros((len(values), candidates_len), probs.array.dtype)
    ids = numpy.zeros(scores.shape, "int64")
    lens = numpy.zeros(len(values), "int32")
    for t, row in enumerate(values):
        best = numpy.argsort(-row, kind="stable")[:candidates_len]
        mass = numpy.cumsum(row[best], dtype="float32")
        reached = numpy.nonzero(mass >= limits[batch_id_per_token_output.array[t]])[0]
        lens[t] = reached[0] + 1 if len(reached) else candidates_len
        ids[t, :lens[t]] = best[:lens[t]]
        scores[t, :lens[t]] = probs.array[t, best[:lens[t]]]
    return Tensor(scores), Tensor(ids), Tensor(lens)


def gather_next_token(x, encoder_seq_lod, decoder_seq_lod, encoder_batch_map,
                      decoder_batch_map, encoder_seq_lod_cpu, decoder_seq_lod_cpu,
                      encoder_batch_map_cpu, decoder_batch_map_cpu, len_info_cpu,
                      is_speculative, max_bsz):
    """6.2: rows that predict a next token, slots in ascending order."""
    n_encoder = int(len_info_cpu.array[0])
    behind = int(encoder_seq_lod_cpu.array[n_encoder])  # the decoders' rows come after
    rows = {}
    for i, slot in enumerate(encoder_batch_map_cpu.array.tolist()):
        rows[slot] = [int(encoder_seq_lod_cpu.array[i + 1]) - 1]
    for i, slot in enumerate(decoder_batch_map_cpu.array.tolist()):
        first, last = decoder_seq_lod_cpu.array[i:i + 2].tolist()
        rows[slot] = list(range(behind + first, behind + last))
    if is_speculative:
        return Tensor(x.array[[row for slot in sorted(rows) for row in rows[slot]]])
    out = numpy.full((max_bsz, x.array.shape[1]), 1, x.array.dtype)
    for slot, own in rows.items():
        out[slot] = x.array[own[-1]]
    return Tensor(out)


for path in ("paddle", "fastdeploy", "fastdeploy.model_executor", "fastdeploy.model_executor.ops",
             "fastdeploy.model_executor.ops.xpu"):
    sys.modules[path] = types.ModuleType(path)
    if "." in path:
        setattr(sys.modules[path.rpartition(".")[0]], path.rpartition(".")[2], sys.modules[path])
sys.modules["paddle"].to_tensor = Tensor
sys.modules["paddle"].__version__ = "doubled"
for function in (verify_draft_tokens, top_p_candidates, gather_next_token):
    setattr(sys.modules["fastdeploy.model_executor.ops.xpu"], function.__name__, function)
