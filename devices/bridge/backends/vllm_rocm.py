# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""AITER's Triton kernels as vLLM's fast path on ROCm calls them (contract
aiter_fla_flashinfer_ggml, 1A and 1B). They need no AMD GPU: Triton compiles them for any."""
import os

# Before the import: no search for ROCm, no compilation of HIP sources.
os.environ.setdefault("AITER_TRITON_ONLY", "1")
os.environ.setdefault("AITER_USE_SYSTEM_TRITON", "1")

from gdn_worker.engine import (accepted, one_token_each, probe_cuda, started_rows,  # noqa: E402
                               write_live, zero_fresh)

PROFILE = "vllm-rocm-aiter"
OPTIONS = {"device": "cuda:0"}
PAD = -1


def probe():
    import aiter
    import aiter.ops.triton.conv.causal_conv1d_update_single_token
    import aiter.ops.triton.gated_delta_net
    return probe_cuda(OPTIONS["device"], f"aiter {getattr(aiter, '__version__', 'checkout')}")


def supports(call):
    if call.op == "gdn_gating":
        return call.unlike(beta_storage="fp32")
    if call.op == "causal_conv1d":
        if "num_accepted_tokens" in call:
            return "the single-token conv asserts that num_accepted_tokens is None"
        return call.unlike(conv_state_order="sd", conv_weight="cw", pad_slot_id=str(PAD))
    if call.op == "gdn_attention":
        if call.scalar("num_prefills", 0) or call.scalar("num_spec_decodes", 0):
            return "the fast path takes batches of plain decodes only"
        if "non_spec_token_indx" in call:
            return "the fast path takes rows in their order: it has no token index"
        return call.unlike(state_order="vk", conv_state_order="sd", pad_rows="zeroed",
                           pad_slot_id=str(PAD))
    reason = call.unlike(state_order="vk", head_map="grouped", l2norm_form="inside",
                         pad_slot_id=str(PAD))
    if reason or call.scalar("chunked", 0):
        return reason or ("gates made inside: the chunk op takes them ready"
                          if "g" not in call else None)
    if "g" in call:
        return "the recurrent op with ready gates keeps [N,HV,K,V] states and has no pool"
    if "num_accepted_tokens" not in call and not one_token_each(call):
        return "more tokens than sequences, and one slot a sequence: the op would write the " \
               "states of later tokens to the slots of the next sequences"
    return None


def causal_conv1d(call):
    lines, slots = call["conv_state"].transpose(1, 2), call["state_indices"]
    common = {"weight": call["weight"], "bias": call.get("bias"), "activation": "silu",
              "pad_slot_id": PAD}
    if one_token_each(call):
        from aiter.ops.triton.conv.causal_conv1d_update_single_token import \
            causal_conv1d_update_single_token
        zero_fresh(call, "conv_state", "state_indices")
        # It writes its result over x: it gets a copy.
        out = causal_conv1d_update_single_token(x=call["x"].clone(), conv_state=lines,
                                                conv_state_indices=slots, **common)
    else:
        from aiter.ops.triton.conv.causal_conv1d import causal_conv1d_fn
        starts = call["query_start_loc"]
        out = causal_conv1d_fn(x=call["x"].t(), conv_states=lines, query_start_loc=starts,
                               seq_lens_cpu=starts.diff().tolist(), cache_indices=slots,
                               has_initial_state=call.get("has_initial_state"), **common).t()
    write_live(call, out)


def gdn_gating(call):
    from aiter.ops.triton._triton_kernels.gated_delta_rule.prefill.fused_gdn_gating_prefill \
        import fused_gdn_gating_and_sigmoid
    g, beta = fused_gdn_gating_and_sigmoid(A_log=call["A_log"], a=call["a"].contiguous(),
                                           b=call["b"].contiguous(), dt_bias=call["dt_bias"])
    return {"g": g, "beta": beta}


def gated_delta_rule(call):
    if call.scalar("chunked", 0):
        return chunk(call)
    from aiter.ops.triton.gated_delta_net import fused_rearrange_sigmoid_gated_delta_rule
    q, k, v, out = (call[n] for n in ("q", "k", "v", "out"))
    zero_fresh(call, "ssm_state", "state_indices")
    # Rows of skipped sequences stay as the buffer was, so it is the case's own.
    buffer = out.reshape(-1)
    result, _ = fused_rearrange_sigmoid_gated_delta_rule(
        A_log=call["A_log"], a=call["a"], b=call["b"], dt_bias=call["dt_bias"],
        qkv=pack(q, k, v), key_dim=q.shape[1] * q.shape[2], value_dim=v.shape[1] * v.shape[2],
        head_k_dim=q.shape[2], head_v_dim=v.shape[2], initial_state=call["ssm_state"],
        inplace_final_state=True, cu_seqlens=call["query_start_loc"],
        ssm_state_indices=call["state_indices"],
        num_accepted_tokens=accepted(call),
        use_qk_l2norm_in_kernel=bool(call.scalar("use_qk_l2norm", 0)), core_attn_out=buffer)
    out.copy_(result[0])


def pack(q, k, v):
    """[N, 2 HK K + HV V]: the row that the fused decode reads, columns flat."""
    import torch
    return torch.cat([t.reshape(t.shape[0], -1) for t in (q, k, v)], dim=1)


def chunk(call):
    from aiter.ops.triton.gated_delta_net import chunk_gated_delta_rule_opt_vk
    pool, slots = call["ssm_state"], call["state_indices"].long()
    # By keyword: the fourth place is the output buffer, where other chunk ops have g.
    out, final = chunk_gated_delta_rule_opt_vk(
        q=call["q"][None], k=call["k"][None], v=call["v"][None], g=call["g"][None],
        beta=call["beta"][None],
        initial_state=started_rows(pool, slots, call.get("has_initial_state")),
        output_final_state=True,
        use_qk_l2norm_in_kernel=bool(call.scalar("use_qk_l2norm", 0)),
        cu_seqlens=call["query_start_loc"].long(), state_dtype=pool.dtype)
    pool[slots] = final
    return {"out": out[0]}


def gdn_attention(call):
    """The decode fast path: unpack and convolve, then gates and recurrence."""
    from aiter.ops.triton.conv.causal_conv1d_update_single_token import \
        fused_reshape_causal_conv1d_update_single_token
    from aiter.ops.triton.gated_delta_net import fused_rearrange_sigmoid_gated_delta_rule
    tp, core = call.scalar("tp_size", 1), call["core_attn_out"]
    heads = {"num_k_heads": call.scalar("num_k_heads") // tp,
             "num_v_heads": call.scalar("num_v_heads") // tp,
             "head_k_dim": call.scalar("head_k_dim"), "head_v_dim": call.scalar("head_v_dim")}
    slots = call["non_spec_state_indices_tensor"]
    for pool in ("conv_state", "ssm_state"):
        zero_fresh(call, pool, "non_spec_state_indices_tensor")
    layout = call.conventions["qkvz_layout"]
    qkv, b, a = fused_reshape_causal_conv1d_update_single_token(
        x=call["projected_states_qkvz"], num_actual_tokens=call.scalar("num_actual_tokens"),
        ba=call["projected_states_ba"], z_out=call["z"], core_attn_out=core,
        conv_state=call["conv_state"].transpose(1, 2), weight=call["conv_weights"],
        bias=call.get("conv_bias"), activation="silu", conv_state_indices=slots,
        pad_slot_id=PAD, qkvz_layout={"interleaved": "interleaved", "separate": "flat"}[layout],
        **heads)
    fused_rearrange_sigmoid_gated_delta_rule(
        A_log=call["A_log"], a=a, b=b, dt_bias=call["dt_bias"], qkv=qkv,
        key_dim=heads["num_k_heads"] * heads["head_k_dim"],
        value_dim=heads["num_v_heads"] * heads["head_v_dim"], head_k_dim=heads["head_k_dim"],
        head_v_dim=heads["head_v_dim"], initial_state=call["ssm_state"],
        inplace_final_state=True, cu_seqlens=call["non_spec_query_start_loc"],
        ssm_state_indices=slots, use_qk_l2norm_in_kernel=True, core_attn_out=core.reshape(-1))
