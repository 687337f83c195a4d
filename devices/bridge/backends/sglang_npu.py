# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""SGLang's kernels for Ascend NPUs, sgl_kernel_npu: Triton (Python functions) and AscendC
(torch.ops.npu), called as SGLang's Ascend backend calls them. Contract sglang_npu.

conv=v2        target verify by the Triton causal_conv1d_update_v2
conv=update    by torch.ops.npu.causal_conv1d_update
conv=run_mode  by torch.ops.npu.causal_conv1d, run_mode 1"""
import importlib
import importlib.metadata

import torch

PROFILE = "sglang-npu"
OPTIONS = {"conv": "v2", "device": "npu:0"}

CONV_OPS = {"v2": None, "update": "causal_conv1d_update", "run_mode": "causal_conv1d"}

FUNCTIONS = {
    "sgl_kernel_npu.mamba.causal_conv1d": (
        "causal_conv1d_fn_npu", "causal_conv1d_update_npu", "causal_conv1d_update_v2"),
    "sgl_kernel_npu.fla.fused_gdn_gating": ("fused_gdn_gating_npu",),
    "sgl_kernel_npu.fla.fused_sigmoid_gating_recurrent": (
        "fused_sigmoid_gating_delta_rule_update_npu",),
    "sgl_kernel_npu.fla.chunk": ("chunk_gated_delta_rule_npu",),
    "sgl_kernel_npu.mamba.mamba_state_update_triton": (
        "move_intermediate_cache", "conv_state_rollback"),
    "sgl_kernel_npu.sample.verify_tree_greedy": ("verify_tree_greedy",),
    "sgl_kernel_npu.sample.tree_speculative_sampling_target_only": (
        "tree_speculative_sampling_target_only",),
    "sgl_kernel_npu.sample.chain_speculative_sampling": ("chain_speculative_sampling_triton",)}

OPS = {}        # the functions by name
ABSENT = {}     # why one is not there
HARDWARE = []   # not empty: the limits of the real kernels count
ORDER = {}      # of each op's states, by what it does: "kv", or "vk" in later releases


def probe():
    if OPTIONS["conv"] not in CONV_OPS:
        raise ValueError(f"conv: expected one of {', '.join(CONV_OPS)} but found "
                         f"{OPTIONS['conv']}")
    found = {"driver": f"torch {torch.__version__}"}
    if not OPTIONS["double"]:
        import torch_npu  # noqa: F401  the device
        import sgl_kernel_npu  # noqa: F401  registers the AscendC ops
        if not torch.npu.is_available():
            raise RuntimeError("no Ascend NPU: torch.npu.is_available() is false")
        found["device"] = OPTIONS["device"]
        found["hardware"] = torch.npu.get_device_name(OPTIONS["device"])
        found["driver"] += f", torch_npu {torch_npu.__version__}"
        found["build"] = "sgl_kernel_npu " + importlib.metadata.version("sgl_kernel_npu")
        HARDWARE.append(found["hardware"])
    for module, names in FUNCTIONS.items():
        for name in names:
            try:
                OPS[name] = getattr(importlib.import_module(module), name)
            except (ImportError, AttributeError) as error:
                ABSENT[name] = str(error)
    for name in ("recurrent_gated_delta_rule", "build_tree_kernel_efficient",
                 CONV_OPS[OPTIONS["conv"]]):
        if name and hasattr(torch.ops.npu, name):
            OPS[name] = getattr(torch.ops.npu, name)
        elif name:
            ABSENT[name] = f"torch.ops.npu has no {name}"
    look_at_orders(found.get("device"))
    orders = ", ".join(f"{name} {order}" for name, order in ORDER.items())
    found["build"] = ", ".join(filter(None, [found.get("build"), f"conv {OPTIONS['conv']}",
                                             f"states {orders}" if orders else ""]))
    return found


def look_at_orders(device):
    """One token with k in direction 0 and v in direction 1 shows how a state lies."""
    def tensor(*shape, at=None, dtype=torch.bfloat16):
        made = torch.zeros(*shape, device=device, dtype=dtype)
        if at is not None:
            made[..., at] = 1
        return made

    q, k, v = (tensor(1, 1, 2, 128, at=at) for at in (0, 0, 1))
    gates = tensor(1, 2)
    starts = torch.tensor([0, 1], device=device).int()
    states = {}
    if "fused_sigmoid_gating_delta_rule_update_npu" in OPS:
        states["decode"] = tensor(2, 2, 128, 128, dtype=torch.float32)
        OPS["fused_sigmoid_gating_delta_rule_update_npu"](
            A_log=tensor(2, dtype=torch.float32), a=gates, dt_bias=tensor(2), softplus_beta=1.0,
            softplus_threshold=20.0, q=q, k=k, v=v, b=gates,
            initial_state_source=states["decode"],
            initial_state_indices=starts[1:], scale=None, use_qk_l2norm_in_kernel=True,
            cu_seqlens=starts)
    if "chunk_gated_delta_rule_npu" in OPS:
        _, states["chunk"], _ = OPS["chunk_gated_delta_rule_npu"](
            q=q, k=k, v=v, g=tensor(1, 1, 2, dtype=torch.float32), beta=gates.unsqueeze(0) + 1,
            scale=None, initial_state=tensor(1, 2, 128, 128, dtype=torch.float32),
            output_final_state=True, cu_seqlens=starts, head_first=False,
            use_qk_l2norm_in_kernel=True)
    for name, state in states.items():
        ORDER[name] = "kv" if abs(float(state[-1, 0, 0, 1])) > 0.1 else "vk"


# ---- what is taken ----

def needs(*names):
    """Why one of these functions cannot be called; None if all can."""
    return next((f"{n}: {ABSENT[n]}" for n in names if n in ABSENT), None)


def supports(call):
    return RULES[call.op](call)


def is_decode(call):
    """One token a sequence, all with a past: what the decode kernels are for."""
    return call.spec("x" if call.op == "causal_conv1d" else "q").shape[0] == \
        call.spec("state_indices").shape[0]


def conv_rules(call):
    reason = call.unlike(
        conv_weight="wc", conv_state_order="sd", conv_product="none", conv_history="window",
        conv_anchor="last", conv_window="rolling", activation="silu",
        pad_sequences="refused")
    if "intermediate_indices" not in call:
        return reason or needs("causal_conv1d_fn_npu", "causal_conv1d_update_npu")
    rows, columns = call.spec("conv_state").shape[1], call.spec("intermediate_indices").shape[1]
    taps = call.spec("weight").shape[0]
    if "parent_token" in call:
        return "verify on NPUs knows chains only"
    if call.spec("x").shape[0] != call.spec("state_indices").shape[0] * columns:
        return "verify takes the same number of tokens of each request"
    if rows != taps - 1 + columns - 1:
        return f"a line of {rows} rows: SGLang allocates W-1+S-1 = {taps + columns - 2}"
    if OPTIONS["conv"] == "run_mode" and taps != 4:
        return f"{taps} taps: run_mode 1 heeds the accepted count with 4 taps only"
    return reason or needs(CONV_OPS[OPTIONS["conv"]] or "causal_conv1d_update_v2")


def gating_rules(call):
    return call.unlike(beta_storage="activation", beta_tail="as_others", softplus_beta="1",
                       softplus_threshold="20") or needs("fused_gdn_gating_npu")


def delta_rules(call):
    if "intermediate_indices" in call:
        return verify_rules(call)
    shared = call.unlike(head_map="grouped", decay_order="before_read")
    if "A_log" in call:
        if not is_decode(call):
            return "the decode kernel takes one token of each request"
        return needs("fused_sigmoid_gating_delta_rule_update_npu") or shared or call.unlike(
            state_order=ORDER["decode"], l2norm_form="outside", l2norm_eps="1e-06",
            state_carry="token", pad_sequences="from_zero", softplus_beta="1",
            softplus_threshold="20")
    k, v = call.spec("ssm_state").shape[2:]
    if HARDWARE and (k > 128 or v > 128):
        return f"heads of {k} x {v}: the chunk kernels hold 128 x 128"
    return needs("chunk_gated_delta_rule_npu") or shared or call.unlike(
        state_order=ORDER["chunk"], l2norm_form="inside", l2norm_eps="1e-06",
        chunk_qk="storage", beta_input="value", gate_input="log", beta_storage="activation",
        pad_sequences="refused")


def verify_rules(call):
    reason = call.unlike(
        state_order="vk", head_map="grouped", l2norm_form="inside", l2norm_eps="1e-06",
        beta_input="logits", gate_input="log", spec_state="buffer", state_carry="call",
        buffer_rows="by_request", pad_sequences="refused")
    if "parent_token" in call:
        return "verify on NPUs knows chains only"
    if "A_log" in call:
        return "verify takes ready-made gates"
    batch, columns = call.spec("intermediate_indices").shape
    if call.spec("q").shape[0] != batch * columns:
        return "verify takes the same number of tokens of each request here"
    for name in ("ssm_state", "intermediate_state", "q", "beta"):
        if call.spec(name).dtype != "bf16":
            return f"{name} in {call.spec(name).dtype}: the op knows bf16 and does not look"
        if not call.spec(name).is_contiguous:
            return f"{name} has gaps, which the op does not see"
    v, k = call.spec("ssm_state").shape[2:]
    if HARDWARE and (k != 128 or v % 8 or columns > 8):
        return f"{columns} columns of {k} x {v}: the op is made for up to 8 of K = 128"
    return reason or needs("recurrent_gated_delta_rule")


def greedy_rules(call):
    chains = "the op follows chains, whatever the links say"
    if HARDWARE and call.verify("tree_walk") != "chain":
        return chains
    return needs("verify_tree_greedy")


def sampling_rules(call):
    reason = None
    if call.verify("tree_accept") != "inclusive":
        reason = f"tree_accept {call.verify('tree_accept')}: this op takes a coin on the edge"
    return reason or needs("tree_speculative_sampling_target_only")


def chain_rules(call):
    if call.scalar("block"):
        return "the op verifies token by token, not in blocks"
    if call.spec("accept_index").shape != call.spec("candidates").shape:
        return "the op takes accept_index as wide as the chain only"
    return needs("chain_speculative_sampling_triton")


def tree_rules(call):
    if "packed_mask" in call:
        return "the op throws at packed masks"
    return needs("build_tree_kernel_efficient")


def commit_rules(call):
    if (call.verify("commit"), call.verify("conv_commit")) != ("move", "rollback"):
        return "states are moved and windows rolled back"
    return needs("move_intermediate_cache", "conv_state_rollback")


RULES = {"causal_conv1d": conv_rules, "gdn_gating": gating_rules,
         "gated_delta_rule": delta_rules, "verify_tree_greedy": greedy_rules,
         "tree_speculative_sampling": sampling_rules,
         "chain_speculative_sampling": chain_rules, "build_tree": tree_rules,
         "state_commit": commit_rules}


# ---- the convolution ----

def causal_conv1d(call):
    if "intermediate_indices" in call:
        return {"out": conv_verify(call)}
    flags = call.get("has_initial_state")
    weight = call["weight"].t().contiguous()
    pool = call["conv_state"]
    last = pool[:, pool.shape[1] - (weight.shape[1] - 1):]
    state = last.transpose(1, 2).contiguous()
    if is_decode(call) and (flags is None or bool(flags.all())):
        out = OPS["causal_conv1d_update_npu"](
            x=call["x"].clone(), conv_state=state, weight=weight, bias=call.get("bias"),
            activation="silu", conv_state_indices=call["state_indices"])
    else:
        if flags is None:
            flags = torch.ones_like(call["state_indices"], dtype=torch.bool)
        out = OPS["causal_conv1d_fn_npu"](
            call["x"].t(), weight, bias=call.get("bias"),
            query_start_loc=call["query_start_loc"], cache_indices=call["state_indices"],
            has_initial_state=flags, conv_states=state, activation="silu").t()
    last.copy_(state.transpose(1, 2))  # of every slot, as SGLang does
    return {"out": out}


def conv_verify(call):
    batch, columns = call.spec("intermediate_indices").shape
    x = call["x"].view(batch, columns, -1).clone()  # v2 works in place
    accepted = torch.full_like(call["state_indices"], columns)
    if OPTIONS["conv"] == "v2":
        out = OPS["causal_conv1d_update_v2"](
            x=x, conv_state=call["conv_state"], weight=call["weight"], bias=call.get("bias"),
            activation="silu", conv_state_indices=call["state_indices"],
            num_accepted_tokens=accepted, pad_slot_id=-1)
    elif OPTIONS["conv"] == "update":
        out = OPS["causal_conv1d_update"](
            x, call["weight"], call["conv_state"], call["state_indices"],
            bias=call.get("bias"), num_accepted_tokens=accepted, activation_mode=True,
            pad_slot_id=-1)
    else:
        out = OPS["causal_conv1d"](
            x, call["weight"], call["conv_state"], bias=call.get("bias"),
            cache_indices=call["state_indices"], num_accepted_tokens=accepted,
            activation_mode=1, pad_slot_id=-1, run_mode=1)
    return out.reshape(call.spec("out").shape)


# ---- gates and recurrence ----

def gdn_gating(call):
    g, beta = OPS["fused_gdn_gating_npu"](call["A_log"], call["a"], call["b"], call["dt_bias"],
                                          1.0, 20.0)
    shape = call.spec("g").shape
    return {"g": g.reshape(shape), "beta": beta.reshape(shape)}


def gated_delta_rule(call):
    if "intermediate_indices" in call:
        return {"out": delta_verify(call)}
    q, k, v = (call[name].unsqueeze(0) for name in "qkv")
    norm = bool(call.scalar("use_qk_l2norm"))
    if "A_log" in call:
        out = OPS["fused_sigmoid_gating_delta_rule_update_npu"](
            A_log=call["A_log"], a=call["a"], dt_bias=call["dt_bias"], softplus_beta=1.0,
            softplus_threshold=20.0, q=q, k=k, v=v, b=call["b"],
            initial_state_source=call["ssm_state"],
            initial_state_indices=call["state_indices"], scale=None,
            use_qk_l2norm_in_kernel=norm, cu_seqlens=call["query_start_loc"])
        return {"out": out.squeeze(0)}
    slots = call["state_indices"].long()
    state = call["ssm_state"][slots].float()
    if "has_initial_state" in call:
        state[~call["has_initial_state"]] = 0
    out, final, _ = OPS["chunk_gated_delta_rule_npu"](
        q=q, k=k, v=v, g=call["g"].unsqueeze(0), beta=call["beta"].unsqueeze(0), scale=None,
        initial_state=state, output_final_state=True, cu_seqlens=call["query_start_loc"],
        head_first=False, use_qk_l2norm_in_kernel=norm)
    call["ssm_state"][slots] = final.to(call["ssm_state"].dtype)
    return {"out": out.squeeze(0)}


def delta_verify(call):
    batch, columns = call.spec("intermediate_indices").shape
    tokens, key_heads, k = call.spec("q").shape
    heads = call.spec("v").shape[1]
    mixed = torch.cat([call[name].reshape(tokens, -1) for name in "qkv"], 1)
    accepted = call.get("num_accepted_tokens")
    if accepted is not None:
        accepted = accepted.clamp(min=1)  # 0 reads the row of the request before
    out = OPS["recurrent_gated_delta_rule"](
        mixed.view(batch, columns, -1), call["ssm_state"],
        beta=call["beta"].view(batch, columns, heads), scale=k ** -0.5,
        actual_seq_lengths=torch.full_like(call["state_indices"], columns),
        ssm_state_indices=call["intermediate_indices"], nk=key_heads, nv=heads,
        intermediate_state=call["intermediate_state"], cache_indices=call["state_indices"],
        num_accepted_tokens=accepted, g=call["g"].view(batch, columns, heads))
    return out.reshape(call.spec("out").shape)


# ---- trees ----

LINKS = ("predicts", "accept_index", "accept_token_num", "candidates", "retrive_index",
         "retrive_next_token", "retrive_next_sibling")


def verify_tree_greedy(call):
    OPS["verify_tree_greedy"](*(call[n] for n in LINKS), call["target_predict"])


def tree_speculative_sampling(call):
    OPS["tree_speculative_sampling_target_only"](
        *(call[n] for n in LINKS), call["uniform_samples"],
        call["uniform_samples_for_final_sampling"], call["target_probs"], call["draft_probs"],
        threshold_single=float(call["threshold_single"]),
        threshold_acc=float(call["threshold_acc"]), deterministic=True)


def chain_speculative_sampling(call):
    links = {name: None for name in LINKS[5:]}  # of no use to the op
    OPS["chain_speculative_sampling_triton"](
        **{n: call[n] for n in LINKS[:5]}, **links, uniform_samples=call["uniform_samples"],
        uniform_samples_for_final_sampling=call["uniform_samples_for_final_sampling"],
        target_probs=call["target_probs"], draft_probs=call["draft_probs"])


def build_tree(call):
    names = ("parent_list", "selected_index", "verified_seq_len", "tree_mask", "positions",
             "retrive_index", "retrive_next_token", "retrive_next_sibling")
    OPS["build_tree_kernel_efficient"](
        *(call[n] for n in names), call.scalar("topk"), call.scalar("depth"),
        call.spec("retrive_index").shape[1], call.scalar("tree_mask_mode"))


def state_commit(call):
    steps = call["last_steps"]
    home = call["slot_table"][:, 0].contiguous()
    states, snapshots = call["ssm_states"], call["intermediate"]
    width = states.shape[-1]
    OPS["move_intermediate_cache"](
        states.view(*states.shape[:2], 1, 1, width),
        snapshots.view(*snapshots.shape[:3], 1, 1, width), home, call["src_indices"], steps)
    OPS["conv_state_rollback"](call["conv_states"], home, steps,
                               call.spec("slot_table").shape[1])
    call["live_slots"].copy_(torch.where(steps >= 0, home, call["live_slots"]))
