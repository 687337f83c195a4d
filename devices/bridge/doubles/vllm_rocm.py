# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""Op double of AITER's Triton kernels: modules of the same names with functions of the same
signatures, written in torch from contract aiter_fla_flashinfer_ggml, 1A. It shows that the bridge
passes the right things in the right places; it says nothing about AITER's kernels."""
import sys
import types

import torch

EPS = 1e-6


def module(name, *functions):
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        path = ".".join(parts[:end])
        if path not in sys.modules:
            sys.modules[path] = types.ModuleType(path)
            sys.modules[path].__path__ = []
            if end > 1:
                setattr(sys.modules[".".join(parts[:end - 1])], parts[end - 1],
                        sys.modules[path])
    for function in functions:
        setattr(sys.modules[name], function.__name__, function)


# ---- A5, A6: convolution; products of weight and input in the type of the state ----

def silu_of(sums, activation):
    return sums * torch.sigmoid(sums) if activation in (True, "silu", "swish") else sums


def convolve(line, weight, bias, activation):
    """line [W-1 + L, dim] -> [L, dim] fp32."""
    width = weight.shape[1]
    sums = torch.zeros(line.shape[0] - width + 1, line.shape[1])
    if bias is not None:
        sums = sums + bias.float()
    for tap in range(width):
        product = line[tap:tap + sums.shape[0]] * weight[:, tap]
        sums = sums + product.float()
    return silu_of(sums, activation)


def causal_conv1d_update_single_token(
        x, conv_state, weight, bias=None, activation=None, conv_state_indices=None,
        num_accepted_tokens=None, query_start_loc=None, max_query_len=-1, pad_slot_id=-1,
        block_idx_last_scheduled_token=None, initial_state_idx=None, validate_data=False):
    assert num_accepted_tokens is None and query_start_loc is None
    rows = weight.shape[1] - 1
    for n, slot in enumerate(conv_state_indices.tolist()):
        if slot == pad_slot_id:
            continue
        line = torch.cat([conv_state[slot, :, :rows].t(), x[n:n + 1].clone()])
        x[n] = convolve(line, weight, bias, activation)[0].to(x.dtype)
        conv_state[slot, :, :rows] = line[1:].t()
    return x


def causal_conv1d_fn(x, weight, bias, conv_states, query_start_loc, seq_lens_cpu,
                     cache_indices=None, has_initial_state=None, activation="silu",
                     pad_slot_id=-1, validate_data=False, **kwargs):
    out, rows, at = torch.empty_like(x), weight.shape[1] - 1, 0
    assert query_start_loc.tolist()[1:] == torch.tensor(seq_lens_cpu).cumsum(0).tolist()
    for n, (slot, length) in enumerate(zip(cache_indices.tolist(), seq_lens_cpu)):
        tokens = x[:, at:at + length].t()
        if slot != pad_slot_id and length > 0:
            history = conv_states[slot, :, :rows].t()
            if has_initial_state is not None and not has_initial_state[n]:
                history = torch.zeros_like(history)
            line = torch.cat([history, tokens])
            out[:, at:at + length] = convolve(line, weight, bias, activation).to(x.dtype).t()
            conv_states[slot, :, :rows] = line[-rows:].t()
        at += length
    return out


def columns(nk, nv, hk, hv, layout):
    """Columns of a projected row for q, k, v in channel order, z, b and a."""
    group = nv // nk
    if layout == "flat":
        conv = torch.arange(2 * nk * hk + nv * hv)
        z = conv.numel() + torch.arange(nv * hv)
        return conv, z, torch.arange(nv), nv + torch.arange(nv)
    block = torch.arange(nk * (2 * hk + 2 * group * hv)).view(nk, -1)
    q, k, v, z = block.split([hk, hk, group * hv, group * hv], dim=1)
    b, a = torch.arange(2 * nv).view(nk, -1).split([group, group], dim=1)
    return torch.cat([q.flatten(), k.flatten(), v.flatten()]), z.flatten(), b.flatten(), \
        a.flatten()


def fused_reshape_causal_conv1d_update_single_token(
        x, num_actual_tokens, num_k_heads, num_v_heads, head_k_dim, head_v_dim, ba, z_out,
        core_attn_out, conv_state, weight, bias=None, activation=None, conv_state_indices=None,
        num_accepted_tokens=None, query_start_loc=None, max_query_len=-1, pad_slot_id=-1,
        block_idx_last_scheduled_token=None, initial_state_idx=None, validate_data=False,
        qkvz_layout="interleaved"):
    assert qkvz_layout in ("interleaved", "flat")
    assert z_out.is_contiguous() and core_attn_out.is_contiguous()
    conv, z, b, a = columns(num_k_heads, num_v_heads, head_k_dim, head_v_dim, qkvz_layout)
    n = num_actual_tokens
    z_out.zero_()
    core_attn_out.zero_()
    z_out[:n] = x[:n, z].view(n, num_v_heads, head_v_dim)
    qkv = causal_conv1d_update_single_token(x[:n, conv], conv_state, weight, bias, activation,
                                            conv_state_indices, pad_slot_id=pad_slot_id)
    return qkv, ba[:n, b].contiguous(), ba[:n, a].contiguous()


# ---- A1, A4: the recurrence, states [HV,V,K] ----

def log_decay(A_log, a, dt_bias):
    x = a.float() + dt_bias.float()
    return -A_log.float().exp() * torch.where(x <= 20, (1 + x.clamp(max=20).exp()).log(), x)


def grouped(x, hv):
    """[T,H,D] -> [T,HV,D]: a key head serves hv / H value heads that stand together."""
    return x.float().repeat_interleave(hv // x.shape[1], dim=1)


def normalised(x):
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + EPS)


def token(state, q, k, v, decay, beta):
    """state [HV,V,K], q and k [HV,K], v [HV,V]; fp32."""
    state = decay[:, None, None] * state
    delta = beta[:, None] * (v - torch.einsum("hvk,hk->hv", state, k))
    state = state + delta[:, :, None] * k[:, None, :]
    return state, torch.einsum("hvk,hk->hv", state, q)


def fused_rearrange_sigmoid_gated_delta_rule(
        A_log, a, b, dt_bias, qkv, key_dim, value_dim, head_k_dim, head_v_dim, beta=1.0,
        threshold=20.0, scale=None, initial_state=None, inplace_final_state=True,
        cu_seqlens=None, ssm_state_indices=None, num_accepted_tokens=None,
        use_qk_l2norm_in_kernel=False, is_kda=False, core_attn_out=None):
    assert qkv.shape[1] == 2 * key_dim + value_dim and inplace_final_state and not is_kda
    rows, hv = qkv.shape[0], value_dim // head_v_dim
    q, k, v = qkv.split([key_dim, key_dim, value_dim], dim=1)
    q = grouped(q.reshape(rows, -1, head_k_dim), hv)
    k = grouped(k.reshape(rows, -1, head_k_dim), hv)
    v = v.reshape(rows, hv, head_v_dim).float()
    if use_qk_l2norm_in_kernel:
        q, k = normalised(q), normalised(k)
    q = q * (head_k_dim ** -0.5 if scale is None else scale)
    decay, rate = log_decay(A_log, a, dt_bias).exp(), b.float().sigmoid()
    o = core_attn_out[:rows * hv * head_v_dim].view(1, rows, hv, head_v_dim)
    slots = ssm_state_indices if ssm_state_indices.dim() == 2 else ssm_state_indices[:, None]
    starts = cu_seqlens.tolist()
    for n, row in enumerate(slots.tolist()):
        first = 0 if num_accepted_tokens is None else int(num_accepted_tokens[n]) - 1
        if starts[n] == starts[n + 1] or row[first] < 0:
            continue
        state = initial_state[row[first]].float()
        for t, p in enumerate(range(starts[n], starts[n + 1])):
            state, out = token(state, q[p], k[p], v[p], decay[p], rate[p])
            o[0, p] = out.to(o.dtype)
            if row[t] >= 0:
                initial_state[row[t]] = state.to(initial_state.dtype)
    return o, initial_state


def chunk_gated_delta_rule_opt_vk(
        q, k, v, o=None, g=None, beta=None, scale=None, initial_state=None,
        output_final_state=False, use_qk_l2norm_in_kernel=False, cu_seqlens=None,
        use_chunk_hip=False, use_chunk_flydsl=False, use_prepare_flydsl=False, state_dtype=None,
        use_exp2=True, num_decodes=0, num_decode_tokens=0, seq_lens_cpu=None,
        prefill_metadata=None, initial_state_indices=None, inplace_final_state=None,
        snapshot_dtype=None):
    """Token by token: in real numbers what the chunks are."""
    assert q.dtype in (torch.float16, torch.bfloat16) and cu_seqlens.dtype == torch.int64
    hv, out, final = v.shape[2], torch.empty_like(v), initial_state.clone()
    qn, kn = grouped(q[0], hv), grouped(k[0], hv)
    if use_qk_l2norm_in_kernel:  # a kernel of its own, whose results are stored
        qn, kn = (normalised(x).to(q.dtype).float() for x in (qn, kn))
    qn = qn * q.shape[3] ** -0.5
    decay, rate, values, starts = g[0].exp(), beta[0].float(), v[0].float(), cu_seqlens.tolist()
    for n in range(len(starts) - 1):
        state = initial_state[n].float()
        for p in range(starts[n], starts[n + 1]):
            state, got = token(state, qn[p], kn[p], values[p], decay[p], rate[p])
            out[0, p] = got.to(v.dtype)
        final[n] = state.to(final.dtype)
    return out, final


def fused_gdn_gating_and_sigmoid(A_log, a, b, dt_bias, softplus_beta=1.0,
                                 softplus_threshold=20.0):
    assert a.is_contiguous() and b.is_contiguous()
    return log_decay(A_log, a, dt_bias), b.float().sigmoid()


module("aiter.ops.triton.conv.causal_conv1d", causal_conv1d_fn)
module("aiter.ops.triton.conv.causal_conv1d_update_single_token",
       causal_conv1d_update_single_token, fused_reshape_causal_conv1d_update_single_token)
module("aiter.ops.triton.gated_delta_net", fused_rearrange_sigmoid_gated_delta_rule,
       chunk_gated_delta_rule_opt_vk)
module("aiter.ops.triton._triton_kernels.gated_delta_rule.prefill.fused_gdn_gating_prefill",
       fused_gdn_gating_and_sigmoid)
