# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""Op double of vLLM's CPU kernels: the same names and schemas in torch.ops._C, written in torch
from contract vllm_cpu_and_metadata, 1. It shows that the bridge passes the right things in the
right places; it says nothing about vLLM's kernels."""
import torch

LIBRARY = torch.library.Library("_C", "DEF")
EPS = 1e-5  # inside the root, and in every op but the chunk op hard-coded
CHUNK = 64


def op(schema):
    """Registers a function under its schema, whose name is the function's."""
    LIBRARY.define(schema)

    def register(function):
        LIBRARY.impl(schema.split("(")[0], function, "CPU")
        return function
    return register


def check(condition, what):
    if not condition:
        raise RuntimeError(what)


def check_int32(**tensors):
    for name, tensor in tensors.items():
        check(tensor.dtype == torch.int32, f"{name}: expected int32 but found {tensor.dtype}")


# ---- 1.5, 1.6, 1.7: convolution of four taps ----

def unpacked(weight, packed):
    if not packed:
        return weight.float()
    dim = weight.shape[0]
    memory = weight.reshape(dim // 32, 2, 32, 2)
    return memory.permute(0, 2, 1, 3).reshape(dim, 4).float()


@op("causal_conv1d_weight_pack(Tensor weight) -> Tensor")
def causal_conv1d_weight_pack(weight):
    dim, width = weight.shape
    check(width == 4, "causal_conv1d_weight_pack: support only width of 4")
    check(dim % 32 == 0, "causal_conv1d_weight_pack: invalid dim size")
    pairs = weight.reshape(dim // 32, 32, 2, 2).permute(0, 2, 1, 3)
    return pairs.contiguous().view(dim, width)


def convolve(line, taps, bias, silu):
    """line [3 + L, dim]: history and tokens, fp32 -> [L, dim] fp32."""
    sums = torch.stack([(line[t:t + 4] * taps.t()).sum(0) for t in range(line.shape[0] - 3)])
    if bias is not None:
        sums = sums + bias.float()
    return sums * torch.sigmoid(sums) if silu else sums


@op("causal_conv1d_fwd_cpu(Tensor x, Tensor weight, Tensor? bias, Tensor? conv_states, "
    "Tensor? query_start_loc, Tensor? cache_indices, Tensor? has_initial_state, "
    "bool silu_activation, int pad_slot_id, bool is_weight_packed) -> Tensor")
def causal_conv1d_fwd_cpu(x, weight, bias, conv_states, query_start_loc, cache_indices,
                          has_initial_state, silu_activation, pad_slot_id, is_weight_packed):
    check(x.stride(0) == 1 and x.stride(1) == x.shape[0], "expect x to be transposed")
    check_int32(query_start_loc=query_start_loc, cache_indices=cache_indices)
    taps, out = unpacked(weight, is_weight_packed), torch.empty_like(x)
    bounds = query_start_loc.tolist()
    for s, slot in enumerate(cache_indices.tolist()):
        tokens = x[:, bounds[s]:bounds[s + 1]].t()
        if has_initial_state[s]:
            history = conv_states[slot, :, :3].t()
        else:
            history = torch.zeros(3, x.shape[0], dtype=x.dtype)
        line = torch.cat([history, tokens])
        out[:, bounds[s]:bounds[s + 1]] = convolve(line.float(), taps, bias,
                                                   silu_activation).to(x.dtype).t()
        conv_states[slot, :, :3] = line[-3:].t()
    return out


@op("causal_conv1d_update_cpu(Tensor x, Tensor(a!) conv_states, Tensor weight, Tensor? bias, "
    "bool silu_activation, Tensor? num_accepted_tokens, Tensor? conv_state_indices, "
    "int pad_slot_id, bool is_weight_packed) -> Tensor")
def causal_conv1d_update_cpu(x, conv_states, weight, bias, silu_activation, num_accepted_tokens,
                             conv_state_indices, pad_slot_id, is_weight_packed):
    check(x.is_contiguous(), "expect x to be contiguous")
    check_int32(conv_state_indices=conv_state_indices)
    taps, out = unpacked(weight, is_weight_packed), torch.empty_like(x)
    for s, slot in enumerate(conv_state_indices.tolist()):
        state = conv_states[slot]  # [dim, rows]
        if x.dim() == 2:
            line = torch.cat([state[:, :3].t(), x[s:s + 1]])
            out[s] = convolve(line.float(), taps, bias, silu_activation)[0].to(x.dtype)
            state[:, :3] = line[1:].t()
            continue
        accepted, length, rows = int(num_accepted_tokens[s]), x.shape[1], state.shape[1]
        check(1 <= accepted <= length, f"num_accepted_tokens must be in [1, {length}]")
        check(rows >= length and accepted + 2 <= rows, "history window exceeds conv_states")
        line = torch.cat([state[:, accepted - 1:accepted + 2].t(), x[s]])
        out[s] = convolve(line.float(), taps, bias, silu_activation).to(x.dtype)
        kept = state[:, accepted:accepted + rows - length].clone()
        state[:, :rows - length] = kept
        state[:, rows - length:] = x[s].t()
    return out


# ---- 1.1: gates ----

def thrice_rounded(b):
    """The sigmoid of a scalar of a 16-bit type, every step in that type."""
    grown = (-b.float()).exp().to(b.dtype)
    return (1 / (1 + grown.float()).to(b.dtype).float()).to(b.dtype)


def log_decay(A_log, a, dt_bias):
    x = a.float() + dt_bias.float()
    return -A_log.float().exp() * torch.where(x > 20, x, torch.log1p(x.clamp(max=20).exp()))


@op("fused_gdn_gating_cpu(Tensor A_log, Tensor a, Tensor b, Tensor dt_bias) -> (Tensor, Tensor)")
def fused_gdn_gating_cpu(A_log, a, b, dt_bias):
    check(a.is_contiguous() and dt_bias.dtype == a.dtype, "a: contiguous, of dt_bias's type")
    beta = b.float().sigmoid().to(b.dtype)
    tail = a.shape[1] - a.shape[1] % 32  # heads that fill no vector
    beta[:, tail:] = thrice_rounded(b[:, tail:])
    return log_decay(A_log, a, dt_bias)[None], beta[None]


# ---- 1.2, 1.3, 1.4: the recurrence, states [HV,K,V] ----

def step(state, q, k, v, decay, beta):
    """One token, fp32: state [HV,K,V], q and k [HV,K], v [HV,V], decay and beta [HV]."""
    state = state * decay[:, None, None]
    read = (state * k[:, :, None]).sum(1)
    state = state + k[:, :, None] * ((v - read) * beta[:, None])[:, None]
    return state, (state * q[:, :, None]).sum(1)


def heads(x, of, norm, eps=EPS):
    """[L,HK,D] to [L,HV,D], each key head for the value heads next to each other."""
    x = x.float()
    if norm:
        x = x / torch.sqrt((x * x).sum(-1, keepdim=True) + eps)
    return x.repeat_interleave(of // x.shape[1], dim=1)


def check_pool(pool, *inner):
    check(pool.stride()[1:] == (inner[1] * inner[2], inner[2], 1) and
          tuple(pool.shape[1:]) == inner, "expect the pool to be contiguous per slot")


@op("fused_sigmoid_gating_delta_rule_update_cpu(Tensor A_log, Tensor dt_bias, Tensor q, Tensor k, "
    "Tensor v, Tensor a, Tensor b, Tensor(a!) initial_state_source, "
    "Tensor initial_state_indices, Tensor cu_seqlens, bool use_qk_l2norm_in_kernel, "
    "float softplus_beta=1.0, float softplus_threshold=20.0) -> Tensor")
def fused_sigmoid_gating_delta_rule_update_cpu(
        A_log, dt_bias, q, k, v, a, b, initial_state_source, initial_state_indices, cu_seqlens,
        use_qk_l2norm_in_kernel, softplus_beta=1.0, softplus_threshold=20.0):
    check(q.shape[0] == 1, "one token a sequence")
    check_int32(initial_state_indices=initial_state_indices, cu_seqlens=cu_seqlens)
    _, batch, hv, dv = v.shape
    check_pool(initial_state_source, hv, q.shape[3], dv)
    scale = q.shape[3] ** -0.5
    q = heads(q[0], hv, use_qk_l2norm_in_kernel) * scale
    k = heads(k[0], hv, use_qk_l2norm_in_kernel)
    decay, beta = log_decay(A_log, a, dt_bias).exp(), thrice_rounded(b).float()
    out = torch.empty(batch, 1, hv, dv, dtype=v.dtype)
    for s, slot in enumerate(initial_state_indices.tolist()):
        state, o = step(initial_state_source[slot].float(), q[s], k[s], v[0, s].float(),
                        decay[s], beta[s])
        initial_state_source[slot] = state.to(initial_state_source.dtype)
        out[s, 0] = o.to(v.dtype)
    return out


@op("fused_sigmoid_gating_delta_rule_update_spec_cpu(Tensor A_log, Tensor dt_bias, Tensor q, "
    "Tensor k, Tensor v, Tensor a, Tensor b, Tensor(a!) initial_state_source, "
    "Tensor spec_state_indices, Tensor num_accepted_tokens, Tensor cu_seqlens, "
    "bool use_qk_l2norm_in_kernel, float softplus_beta=1.0, float softplus_threshold=20.0) "
    "-> Tensor")
def fused_sigmoid_gating_delta_rule_update_spec_cpu(
        A_log, dt_bias, q, k, v, a, b, initial_state_source, spec_state_indices,
        num_accepted_tokens, cu_seqlens, use_qk_l2norm_in_kernel, softplus_beta=1.0,
        softplus_threshold=20.0):
    check_int32(spec_state_indices=spec_state_indices, num_accepted_tokens=num_accepted_tokens,
                cu_seqlens=cu_seqlens)
    hv = v.shape[1]
    check_pool(initial_state_source, hv, q.shape[2], v.shape[2])
    qn = heads(q, hv, use_qk_l2norm_in_kernel) * q.shape[2] ** -0.5
    kn = heads(k, hv, use_qk_l2norm_in_kernel)
    decay, beta = log_decay(A_log, a, dt_bias).exp(), b.float().sigmoid()
    out, bounds = torch.empty_like(v), cu_seqlens.tolist()
    for s, row in enumerate(spec_state_indices.tolist()):
        before = row[max(int(num_accepted_tokens[s]) - 1, 0)]
        for t, p in enumerate(range(bounds[s], bounds[s + 1])):
            state, o = step(initial_state_source[before].float(), qn[p], kn[p], v[p].float(),
                            decay[p], beta[p])
            initial_state_source[row[t]] = state.to(initial_state_source.dtype)
            out[p] = o.to(v.dtype)
            before = row[t]
    return out


@op("chunk_gated_delta_rule_cpu(Tensor query, Tensor key, Tensor value, Tensor g, Tensor beta, "
    "Tensor initial_state, bool output_final_state, Tensor cu_seqlens, bool head_first, "
    "bool use_qk_l2norm_in_kernel, Tensor initial_state_indices, float eps=1e-5) "
    "-> (Tensor, Tensor)")
def chunk_gated_delta_rule_cpu(query, key, value, g, beta, initial_state, output_final_state,
                               cu_seqlens, head_first, use_qk_l2norm_in_kernel,
                               initial_state_indices, eps=EPS):
    """Token by token: in real numbers what the chunks are. The state goes through its type
    every 64 tokens, and normalised q and k through theirs."""
    check(not head_first and query.shape[0] == 1, "a packed batch")
    check(query.dtype == torch.bfloat16 and beta.dtype == torch.bfloat16, "expect bfloat16")
    check(query.shape[3] == value.shape[3] and query.shape[3] in (64, 128),
          "Unexpected head dim size")
    check_int32(cu_seqlens=cu_seqlens, initial_state_indices=initial_state_indices)
    hv, scale = value.shape[2], query.shape[3] ** -0.5
    check_pool(initial_state, hv, value.shape[3], query.shape[3])
    q = (heads(query[0], hv, use_qk_l2norm_in_kernel, eps) * scale).bfloat16().float()
    k = heads(key[0], hv, use_qk_l2norm_in_kernel, eps).bfloat16().float()
    v, decay, rate = value[0].float(), g[0].exp(), beta[0].float()
    out, bounds = torch.empty_like(value), cu_seqlens.tolist()
    for s, slot in enumerate(initial_state_indices.tolist()):
        state = initial_state[slot].float()
        for t, p in enumerate(range(bounds[s], bounds[s + 1])):
            if t % CHUNK == 0:
                state = state.to(initial_state.dtype).float()
            state, o = step(state, q[p], k[p], v[p], decay[p], rate[p])
            out[0, p] = o.bfloat16()
        initial_state[slot] = state.to(initial_state.dtype)
    return out, initial_state
