# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""vLLM's Triton kernels (contract vllm_cpu_and_metadata, 2): causal_conv1d_fn and _update, the
recurrence in its two forms, and the chunk kernel.

Option `checkout`: a source tree of vLLM, of which single files are loaded, for machines that
have its kernels' needs (torch, triton) and not its own (checkout.py)."""
import importlib

from gdn_worker.engine import (accepted, one_token_each, probe_cuda, started_rows, write_live,
                               zero_fresh)

PROFILE = "vllm-triton"
OPTIONS = {"device": "cuda:0", "checkout": ""}
CONV = "vllm.model_executor.layers.mamba.ops.causal_conv1d"
#: where the fork of FLA lives, by version
DELTA = ("vllm.third_party.flash_linear_attention.ops", "vllm.model_executor.layers.fla.ops")
GATES = ("vllm.model_executor.layers.mamba.gdn.qwen_gdn_linear_attn",
         "vllm.model_executor.layers.mamba.gdn_linear_attn")


def first_of(modules, name):
    """The function `name` of the first of these modules that is there."""
    for module in modules[:-1]:
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
    return getattr(importlib.import_module(modules[-1]), name)


def delta(file, name):
    return first_of([f"{d}.{file}" for d in DELTA], name)


def probe():
    if OPTIONS["checkout"]:
        from gdn_worker import checkout
        version = checkout.open_vllm(OPTIONS["checkout"])
    else:
        import vllm
        version = vllm.__version__
    importlib.import_module(CONV)
    delta("chunk", "chunk_gated_delta_rule")
    return probe_cuda(OPTIONS["device"], f"vllm {version}")


def supports(call):
    if call.op == "gdn_gating":
        try:
            first_of(GATES, "fused_gdn_gating")
        except (ImportError, AttributeError) as error:
            return f"this vLLM has no fused_gdn_gating to import: {error}"
        return call.unlike(beta_storage="activation")
    if call.op == "causal_conv1d":
        return call.unlike(conv_window="sliding", conv_state_order="sd", conv_weight="cw",
                           conv_anchor="first", pad_slot_id="0")
    reason = call.unlike(state_order="vk", head_map="grouped", gate_input="log",
                         beta_input="value", l2norm_form="inside", pad_slot_id="0")
    if reason or call.scalar("chunked", 0):
        return reason or ("gates made inside: the chunk op takes them ready"
                          if "g" not in call else None)
    if "num_accepted_tokens" not in call and not one_token_each(call):
        return "more tokens than sequences, and one slot a sequence: the op would write the " \
               "states of later tokens to the slots of the next sequences"
    return None


def causal_conv1d(call):
    conv = importlib.import_module(CONV)
    lines, slots, starts = call["conv_state"].transpose(1, 2), call["state_indices"], \
        call["query_start_loc"]
    common = {"weight": call["weight"], "bias": call.get("bias"), "activation": "silu"}
    counts = accepted(call)
    if counts is None and not one_token_each(call):
        out = conv.causal_conv1d_fn(x=call["x"].t(), conv_states=lines, query_start_loc=starts,
                                    cache_indices=slots,
                                    has_initial_state=call.get("has_initial_state"),
                                    **common).t()
    else:
        # It writes its result over x: it gets a copy.
        x = call["x"].clone()
        if counts is None:
            zero_fresh(call, "conv_state", "state_indices")
            out = conv.causal_conv1d_update(x=x, conv_state=lines, conv_state_indices=slots,
                                            **common)
        else:
            out = conv.causal_conv1d_update(
                x=x, conv_state=lines, conv_state_indices=slots[:, 0],
                num_accepted_tokens=counts, query_start_loc=starts,
                max_query_len=slots.shape[1], **common)
    write_live(call, out)


def gdn_gating(call):
    g, beta = first_of(GATES, "fused_gdn_gating")(A_log=call["A_log"], a=call["a"], b=call["b"],
                                                  dt_bias=call["dt_bias"])
    return {"g": g.reshape(call["g"].shape), "beta": beta.reshape(call["beta"].shape)}


def gated_delta_rule(call):
    if call.scalar("chunked", 0):
        return chunk(call)
    zero_fresh(call, "ssm_state", "state_indices")
    common = {"q": call["q"][None], "k": call["k"][None], "v": call["v"][None],
              "initial_state": call["ssm_state"], "inplace_final_state": True,
              "cu_seqlens": call["query_start_loc"], "ssm_state_indices": call["state_indices"],
              "num_accepted_tokens": accepted(call),
              "use_qk_l2norm_in_kernel": bool(call.scalar("use_qk_l2norm", 0))}
    if "g" in call:
        run = delta("fused_recurrent", "fused_recurrent_gated_delta_rule")
        out, _ = run(g=call["g"][None], beta=call["beta"][None], **common)
    else:
        run = delta("fused_sigmoid_gating", "fused_sigmoid_gating_delta_rule_update")
        out, _ = run(A_log=call["A_log"], a=call["a"], b=call["b"], dt_bias=call["dt_bias"],
                     **common)
    write_live(call, out[0])


def chunk(call):
    pool, slots = call["ssm_state"], call["state_indices"].long()
    # The layer's own glue: states are gathered by slot, and scattered back.
    out, final = delta("chunk", "chunk_gated_delta_rule")(
        q=call["q"][None], k=call["k"][None], v=call["v"][None], g=call["g"][None],
        beta=call["beta"][None],
        initial_state=started_rows(pool, slots, call.get("has_initial_state")),
        output_final_state=True, cu_seqlens=call["query_start_loc"],
        use_qk_l2norm_in_kernel=bool(call.scalar("use_qk_l2norm", 0)))
    pool[slots] = final.to(pool.dtype)
    return {"out": out[0]}
