# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""vLLM's CPU kernels (contract vllm_cpu_and_metadata, 1): ops of torch.ops._C, in the host's
memory.

Option `library`: a shared library that registers them, for kernels that were built as an
extension of their own."""
from gdn_worker.engine import accepted, one_token_each, zero_fresh

PROFILE = "vllm-cpu-amx"
OPTIONS = {"library": ""}


def probe():
    import torch
    if OPTIONS["library"]:
        torch.ops.load_library(OPTIONS["library"])
        build = f"library {OPTIONS['library']}"
    elif is_there():
        build = "ops that were registered already"
    else:
        import vllm
        import vllm._C  # noqa: F401: for what it registers
        build = f"vllm {vllm.__version__}"
    if not is_there():
        raise ImportError("torch.ops._C has no chunk_gated_delta_rule_cpu: "
                          "this is no CPU build of vLLM")
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        text = file.read()
    name = next((line.split(":", 1)[1].strip() for line in text.splitlines()
                 if line.startswith("model name")), "unknown CPU")
    amx = "with" if "amx_bf16" in text else "without"
    return {"hardware": f"{name}, {amx} AMX", "build": build,
            "driver": f"torch {torch.__version__}, {torch.get_num_threads()} threads"}


def is_there():
    import torch
    return hasattr(torch.ops._C, "chunk_gated_delta_rule_cpu")


def op(name):
    import torch
    return getattr(torch.ops._C, name)


def has_op(name):
    import torch
    return hasattr(torch.ops._C, name)


def argument(name, *candidates):
    """What this build calls an argument that was renamed."""
    known = {a.name for a in op(name).default._schema.arguments}
    return next(c for c in candidates if c in known)


def supports(call):
    if call.op in ("causal_conv1d", "conv_weight_pack") and not has_op("causal_conv1d_fwd_cpu"):
        return "this build has no conv ops: it was made without AVX512-BF16"
    if call.op == "causal_conv1d":
        if "num_accepted_tokens" in call and call.spec("x").shape[0] != \
                call.spec("state_indices").shape[0] * call.spec("state_indices").shape[1]:
            return "the update of several tokens takes sequences of equal length"
        if call.conventions["conv_state_order"] == "ds":
            if "num_accepted_tokens" in call:
                return "the update of several tokens takes states with channels contiguous only"
            if not takes_channels_first():
                return "this build takes the memory of a conv state [slot][channel][time] for " \
                       "[slot][time][channel], and changes the caller's strides"
        return call.unlike(conv_window="sliding", conv_anchor="first",
                           conv_weight=("cw", "vnni"))
    if call.op != "gated_delta_rule":
        return None
    if call.scalar("chunked", 0):
        return None if "g" in call else "gates made inside: the chunk op takes them ready"
    if "g" in call:
        return "the decode ops make the gates inside"
    if "num_accepted_tokens" not in call and not one_token_each(call):
        return "the decode op takes one token a sequence"
    return call.unlike(state_order="kv")


def takes_channels_first():
    """Whether a prefill leaves a conv state of memory [slot][channel][time] where it stands.
    Builds before that layout was taken give the caller's tensor other strides and go on."""
    import torch
    pool = torch.zeros(1, 32, 3, dtype=torch.bfloat16)
    before = pool.stride()
    index = torch.zeros(1, dtype=torch.int32)
    op("causal_conv1d_fwd_cpu")(
        x=torch.zeros(1, 32, dtype=torch.bfloat16).t(),
        weight=torch.zeros(32, 4, dtype=torch.bfloat16), bias=None, conv_states=pool,
        query_start_loc=torch.tensor([0, 1], dtype=torch.int32), cache_indices=index,
        has_initial_state=torch.zeros(1, dtype=torch.bool), silu_activation=True, pad_slot_id=-1,
        **{argument("causal_conv1d_fwd_cpu", "is_weight_packed", "is_vnni"): False})
    return pool.stride() == before


def conv_weight_pack(call):
    return {"packed": op("causal_conv1d_weight_pack")(call["weight"])}


def causal_conv1d(call):
    import torch
    pool = call["conv_state"]
    if call.conventions["conv_state_order"] == "sd":
        pool = pool.transpose(1, 2)
    counts, slots, starts = accepted(call), call["state_indices"], call["query_start_loc"]
    update = counts is not None or one_token_each(call) and "has_initial_state" not in call
    name = "causal_conv1d_update_cpu" if update else "causal_conv1d_fwd_cpu"
    common = {"conv_states": pool, "weight": call["weight"], "bias": call.get("bias"),
              "silu_activation": True, "pad_slot_id": -1,
              argument(name, "is_weight_packed", "is_vnni"):
                  call.conventions["conv_weight"] == "vnni"}
    x = call["x"].contiguous()
    if not update:
        flags = call.get("has_initial_state")
        if flags is None:  # the op dereferences it
            flags = torch.ones(slots.shape, dtype=torch.bool)
        out = op(name)(x=x.t(), query_start_loc=starts, cache_indices=slots,
                       has_initial_state=flags, **common).t()
    elif counts is None:
        out = op(name)(x=x, num_accepted_tokens=None, conv_state_indices=slots, **common)
    else:
        rows = x.view(slots.shape[0], slots.shape[1], x.shape[1])
        out = op(name)(x=rows, num_accepted_tokens=counts,
                       conv_state_indices=slots[:, 0].contiguous(), **common).view(x.shape)
    return {"out": out}


def gdn_gating(call):
    g, beta = op("fused_gdn_gating_cpu")(A_log=call["A_log"], a=call["a"].contiguous(),
                                         b=call["b"].contiguous(), dt_bias=call["dt_bias"])
    return {"g": g[0], "beta": beta[0]}


def gated_delta_rule(call):
    norm = bool(call.scalar("use_qk_l2norm", 0))
    if call.scalar("chunked", 0):
        # The pool itself goes in, [slots,HV,K,V] declared as [slots,HV,V,K]; fresh slots are
        # zeroed first, in place, as the layer does.
        zero_fresh(call, "ssm_state", "state_indices")
        out, _ = op("chunk_gated_delta_rule_cpu")(
            query=call["q"][None], key=call["k"][None], value=call["v"][None],
            g=call["g"][None], beta=call["beta"][None], initial_state=call["ssm_state"],
            output_final_state=True, cu_seqlens=call["query_start_loc"], head_first=False,
            use_qk_l2norm_in_kernel=norm, initial_state_indices=call["state_indices"])
        return {"out": out[0]}
    common = {"A_log": call["A_log"], "dt_bias": call["dt_bias"], "a": call["a"], "b": call["b"],
              "initial_state_source": call["ssm_state"], "cu_seqlens": call["query_start_loc"],
              "use_qk_l2norm_in_kernel": norm}
    if "num_accepted_tokens" in call:
        out = op("fused_sigmoid_gating_delta_rule_update_spec_cpu")(
            q=call["q"], k=call["k"], v=call["v"], spec_state_indices=call["state_indices"],
            num_accepted_tokens=call["num_accepted_tokens"], **common)
        return {"out": out}
    out = op("fused_sigmoid_gating_delta_rule_update_cpu")(
        q=call["q"][None], k=call["k"][None], v=call["v"][None],
        initial_state_indices=call["state_indices"], **common)
    return {"out": out[:, 0]}
