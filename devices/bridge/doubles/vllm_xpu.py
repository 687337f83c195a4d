# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""Op double of torch.ops._xpu_C's GDN ops on the CPU, written from contract vllm_xpu, with the
schemas of the real ones. Not the kernels: it proves the bridge and the judge, not Intel's code.
VARIANT "a" keeps conv snapshots in every draft column and refuses ragged drafts (4543b580), "b"
keeps one sliding line (pull requests 544, 545, 600)."""
import torch
import torch.nn.functional as F

VARIANT = globals().get("VARIANT") or "b"

SHAPES = "int num_k_heads, int num_v_heads, int head_k_dim, int head_v_dim"
COUNTS = "int num_prefills, int num_decodes, int num_spec_decodes"
NON_SPEC = "Tensor? has_initial_state, Tensor{0} non_spec_query_start_loc, Tensor? " \
    "non_spec_token_indx, Tensor{0} non_spec_state_indices_tensor"
SPEC = "Tensor{0} spec_query_start_loc, Tensor{0} spec_token_indx, Tensor{0} " \
    "spec_state_indices_tensor, Tensor{0} num_accepted_tokens"
CONV = "(Tensor(a!) z, Tensor projected_states_qkvz, Tensor projected_states_ba, " + SHAPES + \
    ", Tensor(b!) conv_state, Tensor conv_weights, Tensor? conv_bias, str activation, " + \
    COUNTS + ", {0}, int num_actual_tokens, int tp_size, bool reorder_input) -> Tensor[]"
DELTA = "(Tensor(a!) core_attn_out, Tensor q, Tensor k, Tensor v, Tensor b, Tensor a, " \
    "int num_v_heads, int head_v_dim, Tensor A_log, Tensor dt_bias, Tensor(b!) ssm_state, " + \
    COUNTS + ", {0}, int num_actual_tokens, int tp_size) -> ()"
FUSED = "gdn_attention(Tensor(a!) core_attn_out, Tensor(b!) z, Tensor projected_states_qkvz, " \
    "Tensor projected_states_ba, " + SHAPES + ", Tensor(c!) conv_state, Tensor(d!) ssm_state, " \
    "Tensor conv_weights, Tensor? conv_bias, str activation, Tensor A_log, Tensor dt_bias, " + \
    COUNTS + ", " + NON_SPEC.format("?") + ", " + SPEC.format("?") + \
    ", int num_actual_tokens, int tp_size, bool reorder_input) -> ()"


def check(condition, message):
    if not condition:
        raise RuntimeError(message)


def check_indices(**tensors):
    for name, tensor in tensors.items():
        check(tensor.dtype == torch.int32, f"{name} must be int32 but is {tensor.dtype}")
        check(tensor.is_contiguous(), f"{name} must be contiguous")


class Columns:
    """Rank-local heads, and where they stand in the rows of the projections (2.1)."""

    def __init__(self, num_k_heads, num_v_heads, head_k_dim, head_v_dim, tp_size, separate):
        self.hk, self.hv = num_k_heads // tp_size, num_v_heads // tp_size
        self.k, self.v, self.separate = head_k_dim, head_v_dim, separate
        self.r = self.hv // self.hk

    def split(self, qkvz, ba):
        """-> x of [q|k|v] channels, z [n,HV,V], b, a [n,HV]."""
        n, hk, hv, k, v, r = len(qkvz), self.hk, self.hv, self.k, self.v, self.r
        if self.separate:
            q, key, value, z = qkvz.split((hk * k, hk * k, hv * v, hv * v), 1)
            b, a = ba.split((hv, hv), 1)
        else:
            q, key, value, z = qkvz.view(n, hk, -1).split((k, k, r * v, r * v), 2)
            b, a = ba.view(n, hk, 2 * r).split((r, r), 2)
        x = torch.cat([part.reshape(n, -1) for part in (q, key, value)], 1)
        return x, z.reshape(n, hv, v), b.reshape(n, hv), a.reshape(n, hv)


def convolve(x, history, weights, bias):
    """x [L,C] after its W-1 rows of history -> SiLU of the sum, in x's type (2.3)."""
    line = torch.cat([history, x]).float()
    taps = weights.shape[1]
    total = sum(line[i:i + len(x)] * weights[:, i].float() for i in range(taps))
    if bias is not None:
        total = total + bias.float()
    return F.silu(total).to(x.dtype)


def check_conv(z, projected_states_qkvz, projected_states_ba, conv_state, conv_weights,
               activation, num_actual_tokens):
    check(activation in ("silu", "swish"), f"activation {activation}")
    for tensor in (z, projected_states_qkvz, projected_states_ba, conv_weights, conv_state[0]):
        check(tensor.is_contiguous(), "a tensor of the convolution is not contiguous")
    check(len(z) >= num_actual_tokens, "z has too few rows")


def conv_stages(columns, rows, z, qkvz, ba, convolved):
    """The intermediates in local token order; z scattered to its rows."""
    x, gate, b, a = columns.split(qkvz[rows], ba[rows])
    z[rows] = gate.to(z.dtype)
    y = convolved(x)
    n, width = len(rows), columns.hk * columns.k
    return [y[:, :width].reshape(n, columns.hk, columns.k),
            y[:, width:2 * width].reshape(n, columns.hk, columns.k),
            y[:, 2 * width:].reshape(n, columns.hv, columns.v), b.clone(), a.clone()]


def causal_conv1d_non_spec(
        z, projected_states_qkvz, projected_states_ba, num_k_heads, num_v_heads, head_k_dim,
        head_v_dim, conv_state, conv_weights, conv_bias, activation, num_prefills, num_decodes,
        num_spec_decodes, has_initial_state, non_spec_query_start_loc, non_spec_token_indx,
        non_spec_state_indices_tensor, num_actual_tokens, tp_size, reorder_input):
    check_conv(z, projected_states_qkvz, projected_states_ba, conv_state, conv_weights,
               activation, num_actual_tokens)
    check_indices(non_spec_query_start_loc=non_spec_query_start_loc,
                  non_spec_state_indices_tensor=non_spec_state_indices_tensor)
    check(len(non_spec_query_start_loc) == num_prefills + num_decodes + 1,
          "non_spec_query_start_loc has another length than the batch")
    starts = non_spec_query_start_loc.tolist()
    slots = non_spec_state_indices_tensor.tolist()
    if non_spec_token_indx is None:
        rows = torch.arange(num_actual_tokens)
    else:
        check_indices(non_spec_token_indx=non_spec_token_indx)
        rows = non_spec_token_indx.long()
    taps = conv_weights.shape[1]

    def convolved(x):
        out = torch.empty_like(x)
        for n, slot in enumerate(slots):
            part = x[starts[n]:starts[n + 1]]
            history = conv_state[slot, :taps - 1].clone()
            if has_initial_state is not None and not has_initial_state[n]:
                history.zero_()
            out[starts[n]:starts[n + 1]] = convolve(part, history, conv_weights, conv_bias)
            conv_state[slot, :taps - 1] = torch.cat([history, part])[len(part):]
        return out

    columns = Columns(num_k_heads, num_v_heads, head_k_dim, head_v_dim, tp_size, reorder_input)
    return conv_stages(columns, rows, z, projected_states_qkvz, projected_states_ba, convolved)


def spec_starts(spec_query_start_loc, spec_token_indx, spec_state_indices_tensor):
    """Where each speculative sequence's tokens begin (3, 3.4)."""
    batch, width = spec_state_indices_tensor.shape
    check_indices(spec_query_start_loc=spec_query_start_loc, spec_token_indx=spec_token_indx,
                  spec_state_indices_tensor=spec_state_indices_tensor)
    check(len(spec_query_start_loc) == batch + 1, "spec_query_start_loc has another length")
    if VARIANT == "a":
        check(len(spec_token_indx) == batch * width, "ragged drafts")
        return [n * width for n in range(batch + 1)]
    check(len(spec_token_indx) <= batch * width, "more tokens than columns")
    return spec_query_start_loc.tolist()


def causal_conv1d_spec(
        z, projected_states_qkvz, projected_states_ba, num_k_heads, num_v_heads, head_k_dim,
        head_v_dim, conv_state, conv_weights, conv_bias, activation, num_prefills, num_decodes,
        num_spec_decodes, spec_query_start_loc, spec_token_indx, spec_state_indices_tensor,
        num_accepted_tokens, num_actual_tokens, tp_size, reorder_input):
    check_conv(z, projected_states_qkvz, projected_states_ba, conv_state, conv_weights,
               activation, num_actual_tokens)
    check_indices(num_accepted_tokens=num_accepted_tokens)
    starts = spec_starts(spec_query_start_loc, spec_token_indx, spec_state_indices_tensor)
    table = spec_state_indices_tensor.tolist()
    keep = conv_weights.shape[1] - 1

    def convolved(x):
        out = torch.empty_like(x)
        for n, accepted in enumerate(num_accepted_tokens.tolist()):
            part = x[starts[n]:starts[n + 1]]
            first = max(accepted - 1, 0)
            if VARIANT == "a":
                history = conv_state[table[n][first], :keep].clone()
                line = torch.cat([history, part])
                for t in range(len(part)):
                    conv_state[table[n][t], :keep] = line[t + 1:t + 1 + keep]
            else:
                history = conv_state[table[n][0], first:first + keep].clone()
                line = torch.cat([history, part])[1:]
                conv_state[table[n][0], :len(line)] = line
            out[starts[n]:starts[n + 1]] = convolve(part, history, conv_weights, conv_bias)
        return out

    columns = Columns(num_k_heads, num_v_heads, head_k_dim, head_v_dim, tp_size, reorder_input)
    return conv_stages(columns, spec_token_indx.long(), z, projected_states_qkvz,
                       projected_states_ba, convolved)


def normalise(x):
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + 1e-6)


def prepare(q, k, v, b, a, A_log, dt_bias, ratio):
    """fp32 operands with one row a value head (2.4)."""
    qn = normalise(q.float()) * q.shape[-1] ** -0.5
    kn = normalise(k.float())
    x = a.float() + dt_bias.float()
    softplus = torch.where(x < 20, torch.log1p(torch.exp(x.clamp(max=20))), x)
    decay = torch.exp(-torch.exp(A_log) * softplus)
    return (qn.repeat_interleave(ratio, 1), kn.repeat_interleave(ratio, 1), v.float(), decay,
            torch.sigmoid(b.float()))


def step(state, operands, t):
    """One token of all heads: state [HV,V,K] is changed, o [HV,V] returned (2.5)."""
    q, k, v, decay, beta = (operand[t] for operand in operands)
    state *= decay[:, None, None]
    delta = beta[:, None] * (v - torch.einsum("hvk,hk->hv", state, k))
    state += delta[:, :, None] * k[:, None, :]
    return torch.einsum("hvk,hk->hv", state, q)


def check_delta(core_attn_out, ssm_state, A_log, dt_bias):
    check(core_attn_out.is_contiguous() and ssm_state[0].is_contiguous(),
          "core_attn_out or ssm_state is not contiguous")
    check(A_log.dtype == torch.float32, "A_log must be float32")
    check(dt_bias.dtype == core_attn_out.dtype, "dt_bias must have the output's type")
    check(ssm_state.dtype in (torch.float32, torch.float16, torch.bfloat16), "ssm_state's type")


def gated_delta_rule_non_spec(
        core_attn_out, q, k, v, b, a, num_v_heads, head_v_dim, A_log, dt_bias, ssm_state,
        num_prefills, num_decodes, num_spec_decodes, has_initial_state,
        non_spec_query_start_loc, non_spec_token_indx, non_spec_state_indices_tensor,
        num_actual_tokens, tp_size):
    check_delta(core_attn_out, ssm_state, A_log, dt_bias)
    check_indices(non_spec_state_indices_tensor=non_spec_state_indices_tensor)
    operands = prepare(q, k, v, b, a, A_log, dt_bias, v.shape[1] // q.shape[1])
    starts = non_spec_query_start_loc.tolist()
    rows = range(num_actual_tokens) if non_spec_token_indx is None \
        else non_spec_token_indx.tolist()
    for n, slot in enumerate(non_spec_state_indices_tensor.tolist()):
        state = ssm_state[slot].float()
        if state.data_ptr() == ssm_state[slot].data_ptr():
            state = state.clone()
        if has_initial_state is not None and not has_initial_state[n]:
            state.zero_()
        for t in range(starts[n], starts[n + 1]):
            core_attn_out[rows[t]] = step(state, operands, t).to(core_attn_out.dtype)
        ssm_state[slot] = state.to(ssm_state.dtype)


def gated_delta_rule_spec(
        core_attn_out, q, k, v, b, a, num_v_heads, head_v_dim, A_log, dt_bias, ssm_state,
        num_prefills, num_decodes, num_spec_decodes, spec_query_start_loc, spec_token_indx,
        spec_state_indices_tensor, num_accepted_tokens, num_actual_tokens, tp_size):
    check_delta(core_attn_out, ssm_state, A_log, dt_bias)
    starts = spec_starts(spec_query_start_loc, spec_token_indx, spec_state_indices_tensor)
    operands = prepare(q, k, v, b, a, A_log, dt_bias, v.shape[1] // q.shape[1])
    rows = spec_token_indx.tolist()
    table = spec_state_indices_tensor.tolist()
    for n, accepted in enumerate(num_accepted_tokens.tolist()):
        state = ssm_state[table[n][max(accepted - 1, 0)]].float().clone()
        for column, t in enumerate(range(starts[n], starts[n + 1])):
            core_attn_out[rows[t]] = step(state, operands, t).to(core_attn_out.dtype)
            ssm_state[table[n][column]] = state.to(ssm_state.dtype)


def gdn_attention(
        core_attn_out, z, projected_states_qkvz, projected_states_ba, num_k_heads, num_v_heads,
        head_k_dim, head_v_dim, conv_state, ssm_state, conv_weights, conv_bias, activation,
        A_log, dt_bias, num_prefills, num_decodes, num_spec_decodes, has_initial_state,
        non_spec_query_start_loc, non_spec_token_indx, non_spec_state_indices_tensor,
        spec_query_start_loc, spec_token_indx, spec_state_indices_tensor, num_accepted_tokens,
        num_actual_tokens, tp_size, reorder_input):
    """The speculative stages, then the others (1)."""
    columns = (z, projected_states_qkvz, projected_states_ba, num_k_heads, num_v_heads,
               head_k_dim, head_v_dim, conv_state, conv_weights, conv_bias, activation,
               num_prefills, num_decodes, num_spec_decodes)
    weights = (num_v_heads, head_v_dim, A_log, dt_bias, ssm_state, num_prefills, num_decodes,
               num_spec_decodes)
    if num_spec_decodes > 0 and len(spec_token_indx) > 0:
        group = (spec_query_start_loc, spec_token_indx, spec_state_indices_tensor,
                 num_accepted_tokens, num_actual_tokens, tp_size)
        stages = causal_conv1d_spec(*columns, *group, reorder_input)
        gated_delta_rule_spec(core_attn_out, *stages, *weights, *group)
    tokens = num_actual_tokens if non_spec_token_indx is None else len(non_spec_token_indx)
    if num_prefills + num_decodes > 0 and tokens > 0:
        group = (has_initial_state, non_spec_query_start_loc, non_spec_token_indx,
                 non_spec_state_indices_tensor, num_actual_tokens, tp_size)
        stages = causal_conv1d_non_spec(*columns, *group, reorder_input)
        gated_delta_rule_non_spec(core_attn_out, *stages, *weights, *group)


LIBRARY = torch.library.Library("_xpu_C", "DEF")
for schema, function in (
        (FUSED, gdn_attention),
        ("causal_conv1d_spec" + CONV.format(SPEC.format("")), causal_conv1d_spec),
        ("causal_conv1d_non_spec" + CONV.format(NON_SPEC.format("")), causal_conv1d_non_spec),
        ("gated_delta_rule_spec" + DELTA.format(SPEC.format("")), gated_delta_rule_spec),
        ("gated_delta_rule_non_spec" + DELTA.format(NON_SPEC.format("")),
         gated_delta_rule_non_spec)):
    LIBRARY.define(schema)
    LIBRARY.impl(function.__name__, function, "CPU")
