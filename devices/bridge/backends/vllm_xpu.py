# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""vLLM's kernels for Intel GPUs: torch.ops._xpu_C.gdn_attention, or, with `ops=split`, the four
stages that it is made of. Contract vllm_xpu; names and order of arguments are the op's own."""
import torch

PROFILE = "vllm-xpu"
OPTIONS = {"ops": "fused", "device": "xpu:0"}

# What the installed op turned out to be, by what it does (probe).
FOUND = {"conv_window": "sliding", "ragged": True, "hardware": False}

SCALARS = ("num_k_heads", "num_v_heads", "head_k_dim", "head_v_dim", "num_prefills",
           "num_decodes", "num_spec_decodes", "num_actual_tokens", "tp_size")
COLUMNS = ("z", "projected_states_qkvz", "projected_states_ba", "conv_state", "conv_weights",
           "conv_bias")
NON_SPEC = ("has_initial_state", "non_spec_query_start_loc", "non_spec_token_indx",
            "non_spec_state_indices_tensor")
SPEC = ("spec_query_start_loc", "spec_token_indx", "spec_state_indices_tensor",
        "num_accepted_tokens")
WEIGHTS = ("A_log", "dt_bias")


def probe():
    if OPTIONS["ops"] not in ("fused", "split"):
        raise ValueError(f"ops: expected fused or split but found {OPTIONS['ops']}")
    found = {"driver": f"torch {torch.__version__}"}
    device = "cpu"
    if not OPTIONS["double"]:
        import importlib.metadata
        import vllm_xpu_kernels._xpu_C  # noqa: F401  registers the ops
        if not torch.xpu.is_available():
            raise RuntimeError("no Intel GPU: torch.xpu.is_available() is false")
        device = found["device"] = OPTIONS["device"]
        found["hardware"] = torch.xpu.get_device_name(device)
        found["build"] = "vllm_xpu_kernels " + importlib.metadata.version("vllm_xpu_kernels")
    for name in ("gdn_attention",) if OPTIONS["ops"] == "fused" else (
            "causal_conv1d_spec", "causal_conv1d_non_spec", "gated_delta_rule_spec",
            "gated_delta_rule_non_spec"):
        if not hasattr(torch.ops._xpu_C, name):
            raise RuntimeError(f"torch.ops._xpu_C has no {name}")
    FOUND["hardware"] = device != "cpu"
    look_at_windows(device)
    found["build"] = ", ".join(filter(None, [
        found.get("build"), f"ops {OPTIONS['ops']}", f"conv window {FOUND['conv_window']}",
        "ragged drafts" if FOUND["ragged"] else "no ragged drafts"]))
    return found


def look_at_windows(device):
    """Which revision this is: one speculative sequence of two columns, all zeros and ones.
    Snapshots go to the slot of each column, a sliding line stays in that of column 0; a
    revision without ragged batches refuses a sequence of fewer tokens than columns."""
    for tokens in (2, 1):
        conv_state = torch.zeros(3, 5, 96, device=device, dtype=torch.float16)
        ones = torch.ones(tokens, 128, device=device, dtype=torch.float16)
        indices = torch.tensor([[1, 2]], dtype=torch.int32, device=device)
        values = {
            "core_attn_out": torch.zeros(tokens, 1, 32, device=device, dtype=torch.float16),
            "z": torch.zeros(tokens, 1, 32, device=device, dtype=torch.float16),
            "projected_states_qkvz": ones, "projected_states_ba": ones[:, :2].contiguous(),
            "conv_state": conv_state, "conv_bias": None,
            "ssm_state": torch.zeros(3, 1, 32, 32, device=device),
            "conv_weights": torch.ones(96, 4, device=device, dtype=torch.float16),
            "A_log": torch.zeros(1, device=device),
            "dt_bias": torch.zeros(1, device=device, dtype=torch.float16),
            "spec_query_start_loc": torch.tensor([0, tokens], device=device).int(),
            "spec_token_indx": torch.arange(tokens, device=device).int(),
            "spec_state_indices_tensor": indices,
            "num_accepted_tokens": torch.ones(1, dtype=torch.int32, device=device)}
        scalars = dict.fromkeys(SCALARS, 1) | {
            "head_k_dim": 32, "head_v_dim": 32, "num_prefills": 0, "num_decodes": 0,
            "num_actual_tokens": tokens, "reorder_input": False}
        try:
            attend(values, scalars)
        except RuntimeError:
            if tokens == 2:
                raise
            FOUND["ragged"] = False
            return
        if tokens == 2:
            snapshots = bool((conv_state[2] != 0).any())
            FOUND["conv_window"] = "snapshot" if snapshots else "sliding"


def supports(call):
    if call.op == "gated_delta_rule":
        reason = why_not_a_stage(call)
    else:
        windows = FOUND["conv_window"] if call.scalar("num_spec_decodes") else (
            "sliding", "snapshot")
        reason = call.unlike(
            conv_window=windows, conv_state_order="sd", conv_anchor="first",
            conv_history="window", conv_weight="cw", conv_product="none",
            activation="silu", conv_output="storage", pad_rows="kept")
        if call.scalar("num_spec_decodes") and not FOUND["ragged"]:
            columns = call.spec("spec_state_indices_tensor").shape
            if call.spec("spec_token_indx").shape[0] != columns[0] * columns[1]:
                reason = reason or "this revision takes no ragged drafts"
    reason = reason or call.unlike(
        state_order="vk", head_map="grouped", spec_state="slots", pad_sequences="refused",
        l2norm_form="inside", l2norm_eps="1e-06", softplus_beta="1", softplus_threshold="20",
        beta_rounding="none", state_carry="call")
    return reason or (beyond_hardware(call) if FOUND["hardware"] else None)


def why_not_a_stage(call):
    """Of gated_delta_rule, what the delta stage can be asked alone: gates made inside, q and k
    as they come from the token-recurrent convolution."""
    if OPTIONS["ops"] != "split":
        return "the fused op has no such stage of its own: bridge:vllm_xpu,ops=split has"
    if "g" in call:
        return "the delta stage makes its gates inside"
    if not call.scalar("use_qk_l2norm", 0):
        return "the delta stage always normalises q and k"
    if "num_accepted_tokens" not in call and \
            call.spec("q").shape[0] != call.spec("state_indices").shape[0]:
        return "the delta stage takes prefills in the private rows of its convolution"
    return None


def beyond_hardware(call):
    """What the kernels do not compute, often without a word (contract, section 5)."""
    name = "ssm_state"
    heads, v, k = call.spec(name).shape[1:]
    prefill = call.scalar("num_prefills", 0) > 0
    if k not in (32, 64, 128, 256):
        return f"heads of K = {k}: the kernels know 32, 64, 128 and 256"
    if prefill and (k % 64 or v % 64):
        return f"a prefill with heads of {k} x {v}: the chunk kernel takes multiples of 64"
    if v % 4:
        return f"heads of V = {v}: the kernels take multiples of 4"
    if call.scalar("reorder_input", 0) and heads % 4:
        return f"{heads} value heads in separate columns: the convolution copies gates in fours"
    if "conv_weights" in call and call.spec("conv_weights").shape[1] > 5:
        return "more than 5 taps"
    out = call.spec("core_attn_out" if "core_attn_out" in call else "out")
    if prefill and out.dtype == "fp32":
        return "a prefill in fp32: the chunk kernel takes fp16 and bf16"
    return None


def pick(values, names):
    return {name: values.get(name) for name in names}


def attend(values, scalars):
    """`values`: tensors by their names, absent ones None or not there."""
    if OPTIONS["ops"] == "fused":
        names = ("core_attn_out", "ssm_state") + COLUMNS + WEIGHTS + NON_SPEC + SPEC
        torch.ops._xpu_C.gdn_attention(activation="silu", **pick(values, names), **scalars)
        return
    counts = {n: scalars[n] for n in ("num_prefills", "num_decodes", "num_spec_decodes",
                                      "num_actual_tokens", "tp_size")}
    state = pick(values, ("core_attn_out", "ssm_state") + WEIGHTS)
    shapes = {n: scalars[n] for n in ("num_v_heads", "head_v_dim")}
    for kind, names, active in (
            ("spec", SPEC, scalars["num_spec_decodes"]),
            ("non_spec", NON_SPEC, scalars["num_prefills"] + scalars["num_decodes"])):
        if active:
            group = pick(values, names)
            stages = getattr(torch.ops._xpu_C, "causal_conv1d_" + kind)(
                activation="silu", **pick(values, COLUMNS), **group, **scalars)
            getattr(torch.ops._xpu_C, "gated_delta_rule_" + kind)(
                **dict(zip("qkvba", stages)), **state, **shapes, **group, **counts)


def gdn_attention(call):
    scalars = {name: call.scalar(name) for name in SCALARS}
    scalars["reorder_input"] = bool(call.scalar("reorder_input"))
    attend({name: call[name] for name in call.tensors}, scalars)


def gated_delta_rule(call):
    tokens, heads, v = call.spec("v").shape
    # The stage normalises its q and k where they lie: it owns what its convolution made.
    stages = {name: call[name].clone() for name in "qkvba"}
    common = dict(stages, core_attn_out=call["out"], ssm_state=call["ssm_state"],
                  A_log=call["A_log"], dt_bias=call["dt_bias"], num_v_heads=heads,
                  head_v_dim=v, num_prefills=0, num_actual_tokens=tokens, tp_size=1)
    batch = call.spec("state_indices").shape[0]
    if "num_accepted_tokens" in call:
        torch.ops._xpu_C.gated_delta_rule_spec(
            **common, num_decodes=0, num_spec_decodes=batch,
            spec_query_start_loc=call["query_start_loc"],
            spec_token_indx=torch.arange(tokens, dtype=torch.int32, device=call["q"].device),
            spec_state_indices_tensor=call["state_indices"],
            num_accepted_tokens=call["num_accepted_tokens"])
    else:
        torch.ops._xpu_C.gated_delta_rule_non_spec(
            **common, num_decodes=batch, num_spec_decodes=0,
            has_initial_state=call.get("has_initial_state"),
            non_spec_query_start_loc=call["query_start_loc"], non_spec_token_indx=None,
            non_spec_state_indices_tensor=call["state_indices"])
