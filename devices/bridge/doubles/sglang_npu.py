# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""Op double of sgl_kernel_npu on the CPU, written from contract sglang_npu: the Triton functions
under their modules' names, the AscendC ops under torch.ops.npu with their schemas. It does what
the ops are for, not what they get wrong, except that the AscendC ops take index memory for int32
without looking. Not the kernels: it proves the bridge and the judge."""
import sys
import types

import torch
import torch.nn.functional as F


def silu(x, activation):
    return F.silu(x) if activation in ("silu", "swish", True, 1) else x


def taps_over(line, weight, bias, count):
    """line [count+W-1,C], weight [W,C] -> fp32 [count,C]; tap W-1 is of the newest row."""
    line, weight = line.float(), weight.float()
    total = sum(line[j:j + count] * weight[j] for j in range(len(weight)))
    return total if bias is None else total + bias.float()


def causal_conv1d_fn_npu(x, weight, bias=None, query_start_loc=None, cache_indices=None,
                         has_initial_state=None, conv_states=None, activation="silu",
                         pad_slot_id=-1, **kwargs):
    """x [C,T], weight [C,W], conv_states [slots,C,W-1] in place -> [C,T] (1.2)."""
    assert has_initial_state.dtype == torch.bool and x.dtype == weight.dtype
    keep = weight.shape[1] - 1
    out = torch.zeros_like(x)
    starts = query_start_loc.tolist()
    for n, slot in enumerate(cache_indices.tolist()):
        part = x[:, starts[n]:starts[n + 1]].t()
        history = conv_states[slot].t().clone()
        if not has_initial_state[n]:
            history.zero_()
        line = torch.cat([history, part])
        y = silu(taps_over(line, weight.t(), bias, len(part)), activation)
        out[:, starts[n]:starts[n + 1]] = y.to(x.dtype).t()
        conv_states[slot] = line[len(line) - keep:].t()
    return out


def causal_conv1d_update_npu(x, conv_state, weight, bias=None, activation=None,
                             cache_seqlens=None, conv_state_indices=None,
                             num_accepted_tokens=None, intermediate_conv_window=None,
                             pad_slot_id=-1, metadata=None, validate_data=False):
    """x [B,C], conv_state [slots,C,W-1] in place (2.1, the first body)."""
    assert x.dim() == 2 and conv_state.shape[2] == weight.shape[1] - 1
    out = torch.empty_like(x)
    for n, slot in enumerate(conv_state_indices.tolist()):
        line = torch.cat([conv_state[slot].t(), x[n:n + 1]])
        out[n] = silu(taps_over(line, weight.t(), bias, 1)[0], activation).to(x.dtype)
        conv_state[slot] = line[1:].t()
    return out


def roll(x, weight, conv_state, slots, bias, accepted, activation, pad_slot_id):
    """x [B,T,C] after lines of L rows, of which the newest accepted + W - 2 count (2.0)."""
    out = torch.empty_like(x)
    count, keep = x.shape[1], len(weight) - 1
    for n, slot in enumerate(slots):
        if slot == pad_slot_id:
            continue
        first = accepted[n] - 1
        line = torch.cat([conv_state[slot, first:first + keep], x[n]])
        out[n] = silu(taps_over(line, weight, bias, count), activation).to(x.dtype)
        conv_state[slot, :len(line) - 1] = line[1:].clone()
    return out


def causal_conv1d_update_v2(x, conv_state, weight, bias=None, activation=None,
                            conv_state_indices=None, num_accepted_tokens=None,
                            query_start_loc=None, max_query_len=-1, pad_slot_id=-1,
                            block_idx_last_scheduled_token=None, initial_state_idx=None,
                            validate_data=False):
    assert x.dim() == 3 and num_accepted_tokens is not None
    out = roll(x, weight, conv_state, conv_state_indices.tolist(), bias,
               num_accepted_tokens.tolist(), activation, pad_slot_id)
    x.copy_(out)  # the op works in place where the types agree
    return x


def as_int32(tensor):
    """Index memory as AscendC reads it: whatever its type, one int32 after the other."""
    return tensor.contiguous().view(-1).view(torch.int32)[:tensor.numel()].view(tensor.shape)


def causal_conv1d_update(x, weight, conv_state, conv_state_indices, bias=None,
                         num_accepted_tokens=None, query_start_loc=None, activation_mode=False,
                         pad_slot_id=-1):
    assert x.dtype == weight.dtype == conv_state.dtype and conv_state.is_contiguous()
    return roll(x, weight, conv_state, as_int32(conv_state_indices).tolist(), bias,
                as_int32(num_accepted_tokens).tolist(), activation_mode, pad_slot_id)


def causal_conv1d(x, weight, conv_states, bias=None, query_start_loc=None, cache_indices=None,
                  has_initial_state=None, num_accepted_tokens=None, activation_mode=0,
                  pad_slot_id=-1, run_mode=0):
    assert run_mode == 1 and num_accepted_tokens is not None and len(weight) == 4
    assert x.dtype == weight.dtype == conv_states.dtype and conv_states.is_contiguous()
    return roll(x, weight, conv_states, cache_indices.tolist(), bias,
                num_accepted_tokens.tolist(), activation_mode, pad_slot_id)


def log_decay(A_log, a, dt_bias, beta, threshold):
    x = a.float() + dt_bias.float()
    soft = torch.where(beta * x > threshold, x,
                       torch.log1p(torch.exp((beta * x).clamp(max=threshold))) / beta)
    return -torch.exp(A_log.float()) * soft


def fused_gdn_gating_npu(A_log, a, b, dt_bias, beta=1.0, threshold=20.0):
    assert a.is_contiguous() and b.is_contiguous()
    g = log_decay(A_log, a, dt_bias, beta, threshold)
    return g.unsqueeze(0), torch.sigmoid(b.float()).to(b.dtype).unsqueeze(0)


def advance(state, q, k, v, decay, beta):
    """One token, state [HV,K,V] in place -> [HV,V] (0.5)."""
    state *= decay[:, None, None]
    delta = beta[:, None] * (v - torch.einsum("hkv,hk->hv", state, k))
    state += k[:, :, None] * delta[:, None, :]
    return torch.einsum("hkv,hk->hv", state, q)


def inside(x):
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + 1e-6)


def outside(x):
    return x / ((x * x).sum(-1, keepdim=True).sqrt() + 1e-6)


def fused_sigmoid_gating_delta_rule_update_npu(
        A_log, a, dt_bias, softplus_beta, softplus_threshold, q, k, v, b, initial_state_source,
        initial_state_indices, scale=None, use_qk_l2norm_in_kernel=False, cu_seqlens=None,
        is_kda=False):
    """Section 4: the state passes through the K-major pool at every token."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    norm = outside if use_qk_l2norm_in_kernel else (lambda x: x)
    ratio = v.shape[2] // q.shape[2]
    qn = (norm(q[0].float()) * scale).repeat_interleave(ratio, 1)
    kn = norm(k[0].float()).repeat_interleave(ratio, 1)
    decay = torch.exp(log_decay(A_log, a, dt_bias, softplus_beta, softplus_threshold))
    beta = torch.sigmoid(b.float())
    out = torch.empty(v.shape, dtype=q.dtype)
    starts = cu_seqlens.tolist()
    for n, slot in enumerate(initial_state_indices.tolist()):
        for t in range(starts[n], starts[n + 1]):
            state = torch.zeros(v.shape[2], q.shape[3], v.shape[3])
            if slot >= 0:
                state.copy_(initial_state_source[slot])
            o = advance(state, qn[t], kn[t], v[0, t].float(), decay[t], beta[t])
            out[0, t] = o.to(q.dtype)
            if slot >= 0:
                initial_state_source[slot] = state.to(initial_state_source.dtype)
    return out


def chunk_gated_delta_rule_npu(q, k, v, g, beta, scale=None, initial_state=None,
                               output_final_state=True, cu_seqlens=None, head_first=False,
                               use_qk_l2norm_in_kernel=False):
    """Section 6 in its recurrent form; q and k keep the input type after the norm."""
    assert q.dtype == k.dtype == v.dtype != torch.float32 and beta.dim() == 3
    if use_qk_l2norm_in_kernel:
        q, k = inside(q.float()).to(q.dtype), inside(k.float()).to(k.dtype)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    ratio = v.shape[2] // q.shape[2]
    qn = (q[0].float() * scale).repeat_interleave(ratio, 1)
    kn = k[0].float().repeat_interleave(ratio, 1)
    starts = cu_seqlens.tolist()
    final = torch.zeros(len(starts) - 1, v.shape[2], q.shape[3], v.shape[3])
    if initial_state is not None:
        final.copy_(initial_state)
    out = torch.empty(v.shape, dtype=q.dtype)
    for n, state in enumerate(final):
        for t in range(starts[n], starts[n + 1]):
            out[0, t] = advance(state, qn[t], kn[t], v[0, t].float(), g[0, t].exp(),
                                beta[0, t].float()).to(q.dtype)
    return out, final, None


def recurrent_gated_delta_rule(mix_qkv, recurrent_state, beta, scale, actual_seq_lengths,
                               ssm_state_indices, nk, nv, intermediate_state=None,
                               cache_indices=None, num_accepted_tokens=None, g=None, gk=None):
    """Section 5: V-major states, snapshots rounded, the carried state not."""
    batch, columns, _ = mix_qkv.shape
    _, _, dv, dk = recurrent_state.shape
    indices = as_int32(ssm_state_indices).tolist()
    q, k, v = mix_qkv.float().split((nk * dk, nk * dk, nv * dv), 2)
    qn = (inside(q.reshape(batch, columns, nk, dk)) * scale).repeat_interleave(nv // nk, 2)
    kn = inside(k.reshape(batch, columns, nk, dk)).repeat_interleave(nv // nk, 2)
    v = v.reshape(batch, columns, nv, dv)
    rate = torch.sigmoid(beta.float())
    decay = torch.ones_like(rate) if g is None else torch.exp(g.float())
    target = recurrent_state if intermediate_state is None else intermediate_state
    out = torch.empty(batch, columns, nv, dv, dtype=mix_qkv.dtype)
    for b in range(batch):
        accepted = 1 if num_accepted_tokens is None else int(num_accepted_tokens[b])
        first = indices[b][accepted - 1]
        if intermediate_state is None:
            start = recurrent_state[first]
        elif first % columns == 0:
            start = recurrent_state[int(cache_indices[b])]
        else:
            start = intermediate_state[first]
        state = start.float().transpose(1, 2).clone()
        for t in range(int(actual_seq_lengths[b])):
            out[b, t] = advance(state, qn[b, t], kn[b, t], v[b, t], decay[b, t],
                                rate[b, t]).to(out.dtype)
            target[indices[b][t]] = state.transpose(1, 2).to(target.dtype)
    return out


# ---- trees (8, 9, 10) and what is live after them (7) ----

def verify_tree_greedy(predicts, accept_index, accept_token_num, candidates, retrive_index,
                       retrive_next_token, retrive_next_sibling, target_predict):
    targets = target_predict.reshape(-1).tolist()
    for b in range(len(candidates)):
        index = retrive_index[b].tolist()
        token = candidates[b].tolist()
        down, right = retrive_next_token[b].tolist(), retrive_next_sibling[b].tolist()
        last, node, accepted = index[0], 0, 0
        accept_index[b, 0] = last
        while accepted < accept_index.shape[1] - 1:
            node = down[node]
            while node != -1 and token[node] != targets[last]:
                node = right[node]
            if node == -1:
                break
            predicts[last] = targets[last]
            accepted += 1
            last = index[node]
            accept_index[b, accepted] = last
        accept_token_num[b] = accepted
        predicts[last] = targets[last]


def draw(weights, u):
    """The first id behind which more than u of the mass lies."""
    mass = weights.double().cumsum(0)
    beyond = (mass > u * float(mass[-1])).nonzero()
    if len(beyond):
        return int(beyond[0])
    positive = (weights > 0).nonzero()
    return int(positive[-1]) if len(positive) else len(weights) - 1


def tree_speculative_sampling_target_only(
        predicts, accept_index, accept_token_num, candidates, retrive_index,
        retrive_next_token, retrive_next_sibling, uniform_samples,
        uniform_samples_for_final_sampling, target_probs, draft_probs, threshold_single=1.0,
        threshold_acc=1.0, deterministic=True):
    floor = max(threshold_acc, 1e-9)
    draft_probs.zero_()
    for b in range(len(candidates)):
        index, token = retrive_index[b].tolist(), candidates[b].tolist()
        down, right = retrive_next_token[b].tolist(), retrive_next_sibling[b].tolist()
        row, last, accepted = 0, index[0], 0
        coin = float(uniform_samples[b, 0])
        accept_index[b, 0] = last
        while accepted < accept_index.shape[1] - 1:
            node, mass = down[row], 0.0
            while node != -1:
                p = float(target_probs[b, row, token[node]])
                mass += p
                if coin <= mass / floor or p >= threshold_single:
                    break
                draft_probs[b, row, token[node]] = p
                node = right[node]
            if node == -1:
                break
            predicts[last] = token[node]
            accepted += 1
            last, row = index[node], node
            accept_index[b, accepted] = last
            coin = float(uniform_samples[b, node])
        accept_token_num[b] = accepted
        rest = (target_probs[b, row] - draft_probs[b, row]).clamp(min=0)
        predicts[last] = draw(rest, float(uniform_samples_for_final_sampling[b]))


def chain_speculative_sampling_triton(
        predicts, accept_index, accept_token_num, candidates, retrive_index,
        retrive_next_token, retrive_next_sibling, uniform_samples,
        uniform_samples_for_final_sampling, target_probs, draft_probs, threshold_single=1.0,
        threshold_acc=1.0, deterministic=True):
    """draft_verification 8.3, token by token; the coin of step s is s - 1."""
    assert accept_index.shape == candidates.shape, "a linear chain"
    for b in range(len(candidates)):
        index, token = retrive_index[b].tolist(), candidates[b].tolist()
        accept_index[b, 0], step = index[0], 1
        while step < len(token):
            p, q = target_probs[b, step - 1, token[step]], draft_probs[b, step - 1, token[step]]
            if not uniform_samples[b, step - 1] * q < p:
                break
            predicts[index[step - 1]] = token[step]
            accept_index[b, step] = index[step]
            step += 1
        rest = target_probs[b, step - 1]
        if step < len(token):
            rest = (rest - draft_probs[b, step - 1]).clamp(min=0)
        accept_token_num[b] = step - 1
        predicts[index[step - 1]] = draw(rest, float(uniform_samples_for_final_sampling[b]))


def build_tree_kernel_efficient(parent_list, selected_index, verified_seq_len, tree_mask,
                                positions, retrive_index, retrive_next_token,
                                retrive_next_sibling, topk, depth, draft_token_num,
                                tree_mask_mode):
    assert tree_mask_mode in (0, 1), "packed masks"
    nodes, base = draft_token_num, 0
    for b in range(len(verified_seq_len)):
        chosen, length = selected_index[b].tolist(), int(verified_seq_len[b])
        parents = [0]
        for flat in chosen:
            group = flat // topk
            parents.append(0 if group == 0 else 1 + chosen.index(int(parent_list[b, group])))
        down, right, heights = [-1] * nodes, [-1] * nodes, [0] * nodes
        for node in range(nodes - 1, 0, -1):
            right[node], down[parents[node]] = down[parents[node]], node
        prefix = length if tree_mask_mode == 0 else 0
        for node in range(nodes):
            row, up = [False] * nodes, node
            while up:
                row[up], up = True, parents[up]
                heights[node] += 1
            row[0] = True
            at = base + (prefix + nodes) * node + prefix
            tree_mask[at:at + nodes] = torch.tensor(row)
        base += (prefix + nodes) * nodes
        positions[b * nodes:(b + 1) * nodes] = length + torch.tensor(heights)
        retrive_index[b] = torch.arange(nodes) + b * nodes
        retrive_next_token[b] = torch.tensor(down)
        retrive_next_sibling[b] = torch.tensor(right)


def move_intermediate_cache(ssm_states, intermediate, dst_idx, src_idx, last_steps,
                            h_block_size=2):
    for to, source, step in zip(dst_idx.tolist(), src_idx.tolist(), last_steps.tolist()):
        if step >= 0:
            ssm_states[:, to] = intermediate[:, source, step]
    return ssm_states


def conv_state_rollback(conv_states, state_idx, step_idx, draft_token_num):
    for slot, step in zip(state_idx.tolist(), step_idx.tolist()):
        shift = draft_token_num - 1 - step
        if step >= 0 and shift > 0:
            kept = conv_states[:, slot, :conv_states.shape[2] - shift].clone()
            conv_states[:, slot, shift:] = kept
    return conv_states


MODULES = {
    "sgl_kernel_npu": (),
    "sgl_kernel_npu.mamba": (),
    "sgl_kernel_npu.fla": (),
    "sgl_kernel_npu.sample": (),
    "sgl_kernel_npu.mamba.causal_conv1d": (
        causal_conv1d_fn_npu, causal_conv1d_update_npu, causal_conv1d_update_v2),
    "sgl_kernel_npu.fla.fused_gdn_gating": (fused_gdn_gating_npu,),
    "sgl_kernel_npu.fla.fused_sigmoid_gating_recurrent": (
        fused_sigmoid_gating_delta_rule_update_npu,),
    "sgl_kernel_npu.fla.chunk": (chunk_gated_delta_rule_npu,),
    "sgl_kernel_npu.mamba.mamba_state_update_triton": (
        move_intermediate_cache, conv_state_rollback),
    "sgl_kernel_npu.sample.verify_tree_greedy": (verify_tree_greedy,),
    "sgl_kernel_npu.sample.tree_speculative_sampling_target_only": (
        tree_speculative_sampling_target_only,),
    "sgl_kernel_npu.sample.chain_speculative_sampling": (chain_speculative_sampling_triton,)}
for path, functions in MODULES.items():
    sys.modules[path] = types.ModuleType(path)
    for function in functions:
        setattr(sys.modules[path], function.__name__, function)

LIBRARY = torch.library.Library("npu", "DEF")
for schema, function in (
        ("recurrent_gated_delta_rule(Tensor mix_qkv, Tensor(a!) recurrent_state, Tensor beta, "
         "float scale, Tensor actual_seq_lengths, Tensor ssm_state_indices, int nk, int nv, "
         "Tensor(b!)? intermediate_state=None, Tensor? cache_indices=None, "
         "Tensor? num_accepted_tokens=None, Tensor? g=None, Tensor? gk=None) -> Tensor",
         recurrent_gated_delta_rule),
        ("causal_conv1d_update(Tensor x, Tensor weight, Tensor(a!) conv_state, "
         "Tensor conv_state_indices, Tensor? bias=None, Tensor? num_accepted_tokens=None, "
         "Tensor? query_start_loc=None, bool activation_mode=False, int pad_slot_id=-1) "
         "-> Tensor", causal_conv1d_update),
        ("causal_conv1d(Tensor x, Tensor weight, Tensor(a!) conv_states, Tensor? bias=None, "
         "Tensor? query_start_loc=None, Tensor? cache_indices=None, "
         "Tensor? has_initial_state=None, Tensor? num_accepted_tokens=None, "
         "int activation_mode=0, int pad_slot_id=-1, int run_mode=0) -> Tensor",
         causal_conv1d),
        ("build_tree_kernel_efficient(Tensor parent_list, Tensor selected_index, "
         "Tensor verified_seq_len, Tensor(a!) tree_mask, Tensor(b!) positions, "
         "Tensor(c!) retrive_index, Tensor(d!) retrive_next_token, "
         "Tensor(e!) retrive_next_sibling, int topk, int depth, int draft_token_num, "
         "int tree_mask_mode) -> ()", build_tree_kernel_efficient)):
    LIBRARY.define(schema)
    LIBRARY.impl(function.__name__, function, "CPU")
