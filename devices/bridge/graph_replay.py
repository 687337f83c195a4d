#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""Captures one decode step of a backend in a CUDA graph and replays it with other metadata.

    python3 devices/bridge/graph_replay.py BACKEND [OPTION=VALUE ..]

Engines capture once and then change what the captured buffers hold: other slots, other accepted
counts, fewer live requests. A padded request is what the engine's metadata says: the pad id as
slot and no token (query_start_loc repeats its last value). Each replay must equal the same call
without a graph bit by bit, pools whole, and leave the slots that nobody names as they were.
Prints one line a replay; the exit code is 1 if one differs, 4 without a CUDA device."""
import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(HERE)

import torch  # noqa: E402

BATCH, COLUMNS, SLOTS = 5, 3, 24
HK, HV, K, V, W = 4, 8, 128, 128, 4
CHANNELS = 2 * HK * K + HV * V


class Buffers(dict):
    """Tensors of one call at fixed addresses, with what backends ask of a Call."""

    def __init__(self, op, conventions, scalars, tensors):
        super().__init__(tensors)
        self.op, self.conventions, self.scalars = op, conventions, scalars

    def spec(self, name):
        return self[name]

    def scalar(self, name, otherwise=None):
        return self.scalars.get(name, otherwise)

    def copy(self):
        return Buffers(self.op, self.conventions, self.scalars,
                       {name: tensor.clone() for name, tensor in self.items()})


def random(*shape, dtype=torch.bfloat16):
    return torch.randn(*shape, device="cuda").to(dtype)


def integers(values):
    return torch.tensor(values, dtype=torch.int32, device="cuda")


def delta_call(backend, gates, spec, pad):
    rows = BATCH * (COLUMNS if spec else 1)
    order = {"vllm_triton": (V, K), "vllm_rocm": (V, K), "fla": (K, V)}[backend]
    tensors = {"q": random(rows, HK, K), "k": random(rows, HK, K), "v": random(rows, HV, V),
               "ssm_state": random(SLOTS, HV, *order, dtype=torch.float32),
               "out": random(rows, HV, V)}
    if gates == "fused":
        tensors.update(A_log=random(HV, dtype=torch.float32), dt_bias=random(HV),
                       a=random(rows, HV), b=random(rows, HV))
    else:
        tensors.update(g=-random(rows, HV, dtype=torch.float32).abs(),
                       beta=random(rows, HV, dtype=torch.float32).sigmoid())
    return Buffers("gated_delta_rule",
                   {"pad_slot_id": str(pad), "state_order": "vk" if order == (V, K) else "kv"},
                   {"use_qk_l2norm": 1, "chunked": 0}, tensors)


def conv_call(spec, pad):
    rows = BATCH * (COLUMNS if spec else 1)
    lines = W - 1 + (COLUMNS - 1 if spec else 0)
    return Buffers("causal_conv1d", {"pad_slot_id": str(pad)}, {},
                   {"x": random(rows, CHANNELS), "weight": random(CHANNELS, W),
                    "conv_state": random(SLOTS, lines, CHANNELS), "out": random(rows, CHANNELS)})


def set_metadata(call, spec, pad, padded, seed, zero_length):
    """Slots, counts and query starts of BATCH requests, the last `padded` of them padding."""
    generator = torch.Generator().manual_seed(seed)
    width = COLUMNS if spec else 1
    names = 1 + torch.randperm(SLOTS - 1, generator=generator)[:BATCH * width]
    slots = names.view(BATCH, width).tolist()
    live = BATCH - padded
    for row in range(live, BATCH):
        slots[row] = [pad] * width
    starts = [min(i, live) * width if zero_length else i * width for i in range(BATCH + 1)]
    values = {"state_indices": integers(slots if spec else [row[0] for row in slots]),
              "query_start_loc": integers(starts)}
    if spec:
        counts = 1 + torch.randint(width, (BATCH,), generator=generator)
        counts[live:] = 1
        values["num_accepted_tokens"] = integers(counts.tolist())
    for name, value in values.items():
        if name in call:
            call[name].copy_(value)
        else:
            call[name] = value
    return {slot for row in slots[:live] for slot in row}


def set_data(call, seed):
    """New inputs, states and old contents of the output at the same addresses."""
    generator = torch.Generator(device="cuda").manual_seed(seed)
    for name in ("q", "k", "v", "a", "b", "x", "ssm_state", "conv_state", "out"):
        if name in call:
            call[name].copy_(torch.randn(call[name].shape, generator=generator, device="cuda"))


def run(backend, call):
    for name, value in (getattr(backend, call.op)(call) or {}).items():
        call[name].copy_(value)


def same(a, b):
    return a.dtype == b.dtype and torch.equal(a.contiguous().view(torch.uint8),
                                              b.contiguous().view(torch.uint8))


def replay_matches(backend, call, graph, named, live_rows):
    """Names of tensors that differ from an eager run, or are written where nobody may."""
    before = call.copy()
    eager = call.copy()
    run(backend, eager)
    graph.replay()
    torch.cuda.synchronize()
    wrong = []
    for name in call:
        if name == "out":
            if not same(call[name][:live_rows], eager[name][:live_rows]):
                wrong.append(name)
        elif not same(call[name], eager[name]):
            wrong.append(name)
    pool = "ssm_state" if "ssm_state" in call else "conv_state"
    untouched = [slot for slot in range(SLOTS) if slot not in named]
    if not same(call[pool][untouched], before[pool][untouched]):
        wrong.append(f"{pool}: a slot that nobody names")
    moved = any(not same(call[pool][slot], before[pool][slot]) for slot in named)
    if not moved:
        wrong.append(f"{pool}: nothing was written")
    return wrong


def captured(backend, call):
    """One run to compile, on another stream as torch asks, and one that is captured."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            run(backend, call)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run(backend, call)
    return graph


def scenarios(name):
    """(what, call, speculative, pad id) of the backend's decode steps."""
    if name == "fla":
        yield "recurrent, gates ready", delta_call(name, "ready", False, 0), False, 0
        return
    pad = {"vllm_triton": 0, "vllm_rocm": -1}[name]
    yield "recurrence, gates inside", delta_call(name, "fused", False, pad), False, pad
    yield "recurrence, speculative", delta_call(name, "fused", True, pad), True, pad
    yield "convolution", conv_call(False, pad), False, pad
    if name == "vllm_triton":
        yield "recurrence, gates ready", delta_call(name, "ready", False, pad), False, pad
        yield "convolution, speculative", conv_call(True, pad), True, pad


def load(name, options):
    spec = importlib.util.spec_from_file_location("gdn_backend",
                                                  os.path.join(HERE, "backends", name + ".py"))
    backend = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(backend)
    backend.OPTIONS.update(option.split("=", 1) for option in options)
    found = backend.probe()
    print(f"{found['hardware']}; {found['driver']}; {found['build']}")
    return backend


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in ("fla", "vllm_rocm", "vllm_triton"):
        raise SystemExit(__doc__)
    if not torch.cuda.is_available():
        print("no CUDA device", file=sys.stderr)
        return 4
    backend, failed = load(sys.argv[1], sys.argv[2:]), False
    for what, call, spec, pad in scenarios(sys.argv[1]):
        width = COLUMNS if spec else 1
        # One token a row where there is no query_start_loc to say otherwise: FLA's and the
        # recurrences' padding is of no length, the plain conv update knows only the slot.
        zero_length = call.op == "gated_delta_rule" or spec
        set_metadata(call, spec, pad, 0, 1, zero_length)
        graph = captured(backend, call)
        for padded, seed in ((0, 2), (1, 3), (BATCH - 1, 4), (0, 5)):
            named = set_metadata(call, spec, pad, padded, seed, zero_length)
            set_data(call, seed)
            wrong = replay_matches(backend, call, graph, named, (BATCH - padded) * width)
            failed |= bool(wrong)
            print(f"{what}: {padded} of {BATCH} padded: " +
                  (", ".join(wrong) + " differ" if wrong else "equal"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
