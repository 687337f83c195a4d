# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""What a serving engine does around a kernel, for backends whose ops leave it to the engine."""


def probe_cuda(device, build):
    """The answer of probe() for kernels that run on an NVIDIA or AMD GPU through torch;
    device cpu is for op doubles."""
    import torch
    if device == "cpu":
        return {"hardware": "host", "driver": f"torch {torch.__version__}", "build": build}
    import triton
    take_first_configuration()
    found = torch.cuda.get_device_properties(device)
    toolkit = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"HIP {torch.version.hip}"
    return {"device": device, "hardware": f"{found.name} {getattr(found, 'uuid', '')}".strip(),
            "driver": f"torch {torch.__version__}, {toolkit}, triton {triton.__version__}",
            "build": build}


def take_first_configuration():
    """Autotuned Triton kernels take the first configuration that the device has room for: which
    one the clock prefers changes from run to run, and with it every last bit. Timing also runs
    a kernel many times, which one that works in place does not stand."""
    from triton.runtime.autotuner import Autotuner
    from triton.runtime.errors import OutOfResources
    tuned = Autotuner.run

    def run(self, *args, **kwargs):
        every, problem = self.configs, None
        try:
            for config in every:
                self.configs = [config]
                try:
                    return tuned(self, *args, **kwargs)
                except OutOfResources as error:
                    problem = error
            raise problem
        finally:
            self.configs = every

    Autotuner.run = run


def one_token_each(call):
    """Whether every sequence of causal_conv1d or gated_delta_rule has one token."""
    return call.spec("query_start_loc").shape[0] - 1 == call.spec("out").shape[0]


def started_rows(pool, slots, flags):
    """[B,..]: copies of the rows `slots` [B] of a pool, 0 for sequences whose flag is false.
    flags None: all of them have a history."""
    rows = pool[slots.long()]
    if flags is not None:
        rows[~flags] = 0  # no product: a fresh slot may hold NaN
    return rows


def zero_fresh(call, pool, slots):
    """Zeroes in place the slots of sequences without a history, but for the pad id's: names of
    a pool and of indices [B]."""
    flags = call.get("has_initial_state")
    if flags is not None:
        slots = call[slots]
        fresh = ~flags & (slots != int(call.conventions["pad_slot_id"]))
        call[pool][slots[fresh].long()] = 0


def accepted(call):
    """num_accepted_tokens with 1 for 0, or None. Engines never pass 0, for which the GPU
    kernels read the slot in front of the row, and vLLM's CPU conv raises."""
    counts = call.get("num_accepted_tokens")
    return None if counts is None else counts.clamp(min=1)


def live_rows(call):
    """bool [N]: rows of sequences whose slot (of column 0) is not the pad id."""
    import torch
    slots, starts = call["state_indices"], call["query_start_loc"]
    first = slots if slots.dim() == 1 else slots[:, 0]
    rows = torch.arange(call["out"].shape[0], device=starts.device, dtype=starts.dtype)
    sequence = torch.searchsorted(starts[1:].contiguous(), rows, right=True)
    last = first.shape[0] - 1
    pad = int(call.conventions["pad_slot_id"])
    return (sequence <= last) & (first[sequence.clamp(max=last)] != pad)


def write_live(call, value):
    """A returned `out` into its place, but for rows of skipped sequences: of those the ops say
    nothing, and what a fresh buffer held there is no finding."""
    import torch
    out = call["out"]
    if value.shape != out.shape or value.dtype != out.dtype:
        raise TypeError(f"out: expected {list(out.shape)} {out.dtype} but the op returned "
                        f"{list(value.shape)} {value.dtype}")
    live = live_rows(call).reshape([-1] + [1] * (out.dim() - 1))
    out.copy_(torch.where(live, value, out))
