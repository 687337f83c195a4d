# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""flash-linear-attention: its public ops over states of one row a sequence.

FLA knows no pools: the rows that a call names are gathered, zeroed where a sequence has no
history, and scattered back, as a caller of FLA does."""
import os
import sys

# Its alternative kernels would be other backends, and its cache by the identity of cu_seqlens
# would hold what a reused tensor said before.
os.environ.setdefault("FLA_DISABLE_BACKEND_DISPATCH", "1")
os.environ.setdefault("FLA_DISABLE_TENSOR_CACHE", "1")
# A transformers that is newer than FLA knows ends `import fla` with an error that FLA does not
# expect; without one it skips its models, which are not needed here.
sys.modules.setdefault("transformers", None)

from gdn_worker.engine import probe_cuda, started_rows  # noqa: E402

PROFILE = "fla"
OPTIONS = {"device": "cuda:0"}


def probe():
    import fla
    import fla.modules.conv
    import fla.ops.gated_delta_rule
    return probe_cuda(OPTIONS["device"], f"fla {fla.__version__}")


def supports(call):
    if call.op == "causal_conv1d":
        return call.unlike(conv_window="windows", conv_history="taps", conv_state_order="ds",
                           conv_weight="cw", pad_sequences="refused")
    if call.op == "gated_delta_rule":
        if "g" not in call:
            return "gates made inside: a pool of FLA's users has them ready"
        if "num_accepted_tokens" in call or "intermediate_state" in call:
            return "FLA has no speculative decoding"
        return call.unlike(gate_input="log", beta_input="value", head_map="grouped",
                           l2norm_form="inside", pad_sequences="refused")
    return None


def causal_conv1d(call):
    from fla.modules.conv import causal_conv1d as conv
    pool, slots = call["conv_state"], call["state_indices"].long()
    out, final = conv(x=call["x"][None], weight=call["weight"], bias=call.get("bias"),
                      initial_state=started_rows(pool, slots, call.get("has_initial_state")),
                      output_final_state=True, activation="silu",
                      cu_seqlens=call["query_start_loc"].long())
    pool[slots] = final
    return {"out": out[0]}


def gdn_gating(call):
    from fla.ops.gated_delta_rule.gate import fused_gdn_gate
    # FLA has no kernel for beta outside of the recurrence: its layer takes torch's sigmoid.
    return {"g": fused_gdn_gate(g=call["a"], A_log=call["A_log"], dt_bias=call["dt_bias"]),
            "beta": call["b"].float().sigmoid()}


def gated_delta_rule(call):
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule, fused_recurrent_gated_delta_rule
    run = chunk_gated_delta_rule if call.scalar("chunked", 0) else fused_recurrent_gated_delta_rule
    pool, slots = call["ssm_state"], call["state_indices"].long()
    # By keyword: beta in fifth place is gk to the recurrent op.
    out, final = run(q=call["q"][None], k=call["k"][None], v=call["v"][None],
                     g=call["g"][None], beta=call["beta"][None],
                     initial_state=started_rows(pool, slots,
                                                call.get("has_initial_state")).float(),
                     output_final_state=True,
                     use_qk_l2norm_in_kernel=bool(call.scalar("use_qk_l2norm", 0)),
                     state_v_first=call.conventions["state_order"] == "vk",
                     cu_seqlens=call["query_start_loc"].long())
    pool[slots] = final.to(pool.dtype)
    return {"out": out[0]}
