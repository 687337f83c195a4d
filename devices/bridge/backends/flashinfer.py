# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""FlashInfer (contract aiter_fla_flashinfer_ggml, 1D): prefill gated by the decay itself, decode
over a pool, and the multi-token step of speculative decoding."""
from gdn_worker.engine import probe_cuda, started_rows

PROFILE = "flashinfer"
OPTIONS = {"device": "cuda:0"}


def probe():
    import flashinfer
    from flashinfer.gdn_decode import gated_delta_rule_decode_pretranspose, gated_delta_rule_mtp
    from flashinfer.gdn_prefill import chunk_gated_delta_rule
    # Without nvidia-cutlass-dsl the names are there and are None.
    for name, function in (("gated_delta_rule_decode_pretranspose",
                            gated_delta_rule_decode_pretranspose),
                           ("gated_delta_rule_mtp", gated_delta_rule_mtp),
                           ("chunk_gated_delta_rule", chunk_gated_delta_rule)):
        if not callable(function):
            raise ImportError(f"flashinfer {flashinfer.__version__} has no {name}: it needs "
                              "nvidia-cutlass-dsl")
    return probe_cuda(OPTIONS["device"], f"flashinfer {flashinfer.__version__}")


def supports(call):
    reason = call.unlike(state_order="vk", head_map="grouped", gate_input="decay",
                         beta_input="value", l2norm_form="inside", pad_sequences="zeroed",
                         pad_slot_id="-1")
    if reason:
        return reason
    if call.spec("q").shape[2] != 128 or call.spec("v").shape[2] != 128:
        return "head dims: expected 128 of K and V"
    if call.scalar("chunked", 0):
        if "g" not in call:
            return "gates made inside: the prefill op takes them ready"
        return "the prefill op takes use_qk_l2norm_in_kernel and ignores it" \
            if call.scalar("use_qk_l2norm", 0) else None
    if "g" in call:
        return "the decode ops make the gates inside"
    sequences = call.spec("query_start_loc").shape[0] - 1
    if call.spec("out").shape[0] % sequences:
        return "the multi-token op takes sequences of equal length"
    if "num_accepted_tokens" in call:
        return "the multi-token op starts from the pool, never from an intermediate state"
    if "intermediate_state" not in call:
        return None if call.spec("out").shape[0] == sequences else \
            "several tokens a sequence without a buffer of intermediate states"
    return None if call.spec("ssm_state").dtype == "fp32" else \
        "the multi-token op has fp32 states"


def gated_delta_rule(call):
    if call.scalar("chunked", 0):
        return prefill(call)
    sequences = call["query_start_loc"].shape[0] - 1
    # [B,T,..] of [N,..]: all sequences are of one length.
    by_sequence = {n: call[n].reshape(sequences, -1, *call[n].shape[1:])
                   for n in ("q", "k", "v", "a", "b")}
    common = {**by_sequence, "A_log": call["A_log"], "dt_bias": call["dt_bias"],
              "use_qk_l2norm": bool(call.scalar("use_qk_l2norm", 0)),
              "initial_state": call["ssm_state"], "initial_state_indices": call["state_indices"]}
    if "intermediate_state" in call:
        from flashinfer.gdn_decode import gated_delta_rule_mtp
        # Rows of the buffer are those of the batch, so the case's are in order.
        buffer = call["intermediate_state"]
        out, _ = gated_delta_rule_mtp(
            intermediate_states_buffer=buffer.view(sequences, -1, *buffer.shape[1:]),
            disable_state_update=True, **common)
    else:
        from flashinfer.gdn_decode import gated_delta_rule_decode_pretranspose
        out, _ = gated_delta_rule_decode_pretranspose(state=None, **common)
    return {"out": out.reshape(call["out"].shape)}


def prefill(call):
    from flashinfer.gdn_prefill import chunk_gated_delta_rule
    pool, slots = call["ssm_state"], call["state_indices"].long()
    # g is the decay itself, as the profile says; cu_seqlens is int64 here and nowhere else.
    out, final = chunk_gated_delta_rule(
        q=call["q"], k=call["k"], v=call["v"], g=call["g"], beta=call["beta"],
        initial_state=started_rows(pool, slots, call.get("has_initial_state")),
        output_final_state=True, cu_seqlens=call["query_start_loc"].long())
    pool[slots] = final.to(pool.dtype)
    return {"out": out}
