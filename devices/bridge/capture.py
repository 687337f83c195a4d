# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""Records what one GDN layer of a serving engine got and gave, for `gdn-conform check`.

In the program:            with capture.Capture("/tmp/gdn", layers={3}, steps={0, 1}) as c:
                               engine.generate(...)
                           print(c.files)

From outside, no code:     GDN_CAPTURE=/tmp/gdn GDN_CAPTURE_LAYERS=3 GDN_CAPTURE_STEPS=0,1 \\
                           PYTHONPATH=<this folder>/autoload vllm serve ...

Wrapped are the functions of HOOKS wherever a loaded module of an engine has them, and in
modules that are loaded later; torch.ops of HOOKS too. The original is called once, with the
caller's own arguments; its result is returned as it is. Whatever goes wrong in recording is a
warning, never an exception of the engine's. Needs torch, nothing else.

Layers are numbered in the order in which their weights or state pools are first seen; steps are
the calls of one function for one layer. Of a state pool only the slots that the call names, and
slot 0, are kept, renumbered from 1. Calls inside a CUDA graph capture or under torch.compile are
not seen: run the engine eagerly (vLLM: enforce_eager=True).
"""
import functools
import importlib.abc
import importlib.util
import inspect
import json
import os
import struct
import sys
import threading
import types
import warnings

import torch

ENGINES = ("vllm", "vllm_xpu_kernels", "sglang", "sgl_kernel_npu", "fla", "aiter")
DEFAULT_BYTES = 256 << 20

DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16",
          torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32", torch.bool: "BOOL"}


class NotRecorded(Exception):
    """This call cannot be told in the harness's terms; the message says why."""


# ---- files ----

def write_safetensors(path, tensors, about):
    """Tensors on the CPU by name; a temporary name first, so that no half file is found."""
    header, offset = {"__metadata__": {"gdn_capture": json.dumps(about)}}, 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            if tensor.numel() > 0:
                flat = tensor.contiguous().reshape(-1)
                file.write(flat.view(torch.uint8).numpy().tobytes())
    os.replace(temporary, path)


def host(tensor, dtype=None):
    """A copy in host memory that later writes do not reach."""
    copy = tensor.detach().to("cpu", copy=True).contiguous()
    return copy.to(dtype) if dtype else copy


# ---- state pools ----

class Slots:
    """The slots that a call names: index tensors renumbered, pools cut down to them."""

    def __init__(self, *indices):
        named = [host(i, torch.int64).reshape(-1) for i in indices if i is not None]
        named = torch.unique(torch.cat(named)) if named else torch.zeros(0, dtype=torch.int64)
        self.kept = [0] + [int(s) for s in named if int(s) > 0]
        self.number = {slot: i for i, slot in enumerate(self.kept)}

    def renumber(self, indices):
        if indices is None:
            return None
        flat = [self.number.get(int(s), int(s)) for s in host(indices).reshape(-1)]
        return torch.tensor(flat, dtype=torch.int32).reshape(indices.shape)

    def cut(self, pool, dtype=None):
        at = torch.tensor(self.kept, dtype=torch.int64, device=pool.device)
        return host(pool.detach().index_select(0, at), dtype)

    def bytes(self, pool):
        return 2 * len(self.kept) * pool[0].numel() * pool.element_size()


def bytes_of(*tensors):
    return sum(t.numel() * t.element_size() for t in tensors if t is not None)


def as_type(tensor, dtype, what):
    """A copy in another type, where that loses nothing."""
    copy = host(tensor)
    if not torch.equal(copy.to(dtype).to(copy.dtype), copy):
        raise NotRecorded(f"{what} is {copy.dtype}, and not exact in {dtype}")
    return copy.to(dtype)


# ---- one function each: arguments in the engine's words to a call in the harness's ----
#
# A translator gets the arguments by name, before the call, and copies nothing yet. It returns
# how many bytes a recording takes, a tensor that tells the layer from others (None: the layer of
# the call before), and a function that makes the Recording; whose `after` makes the outputs of
# the result.

class Recording:
    def __init__(self, op, inputs, after, **scalars):
        self.op, self.after, self.scalars = op, after, scalars
        self.inputs = {n: t for n, t in inputs.items() if t is not None}


XPU_TENSORS = ("projected_states_qkvz", "projected_states_ba", "conv_weights", "conv_bias",
               "A_log", "dt_bias", "has_initial_state", "non_spec_query_start_loc",
               "non_spec_token_indx", "spec_query_start_loc", "spec_token_indx",
               "num_accepted_tokens")
XPU_SCALARS = ("num_k_heads", "num_v_heads", "head_k_dim", "head_v_dim", "num_prefills",
               "num_decodes", "num_spec_decodes", "num_actual_tokens", "tp_size",
               "reorder_input")
XPU_NAMES = ("core_attn_out", "z", "projected_states_qkvz", "projected_states_ba",
             "num_k_heads", "num_v_heads", "head_k_dim", "head_v_dim", "conv_state",
             "ssm_state", "conv_weights", "conv_bias", "activation", "A_log", "dt_bias",
             "num_prefills", "num_decodes", "num_spec_decodes", "has_initial_state",
             "non_spec_query_start_loc", "non_spec_token_indx",
             "non_spec_state_indices_tensor", "spec_query_start_loc", "spec_token_indx",
             "spec_state_indices_tensor", "num_accepted_tokens", "num_actual_tokens",
             "tp_size", "reorder_input")


def gdn_attention(a):
    """torch.ops._xpu_C.gdn_attention (contract vllm_xpu, section 1): everything in place."""
    slots = Slots(a["non_spec_state_indices_tensor"], a["spec_state_indices_tensor"])
    size = (bytes_of(*(a[n] for n in XPU_TENSORS)) + 2 * bytes_of(a["core_attn_out"], a["z"]) +
            slots.bytes(a["conv_state"]) + slots.bytes(a["ssm_state"]))

    def before():
        inputs = {n: host(a[n]) for n in XPU_TENSORS if a[n] is not None}
        for name in ("non_spec_state_indices_tensor", "spec_state_indices_tensor"):
            inputs[name] = slots.renumber(a[name])
        for name in ("conv_state", "ssm_state"):
            inputs[name] = slots.cut(a[name])
        for name in ("core_attn_out", "z"):
            inputs[name] = host(a[name])
        return inputs

    def after(_):
        return {"core_attn_out": host(a["core_attn_out"]), "z": host(a["z"]),
                "conv_state": slots.cut(a["conv_state"]),
                "ssm_state": slots.cut(a["ssm_state"])}

    return size, a["ssm_state"], lambda: Recording(
        "gdn_attention", before(), after,
        **{n: int(a[n]) for n in XPU_SCALARS})


def gate_inputs(a):
    return {"A_log": host(a["A_log"], torch.float32), "a": host(a["a"]), "b": host(a["b"]),
            "dt_bias": as_type(a["dt_bias"], a["a"].dtype, "dt_bias")}


def fused_gdn_gating(a):
    """-> (g, beta), [N, HV] or [1, N, HV]; beta may be stored in b's type."""
    if a.get("beta", 1.0) != 1.0:
        raise NotRecorded("softplus with another beta than 1")
    size = 2 * bytes_of(a["a"], a["b"]) + 8 * a["a"].numel()

    def after(result):
        return {n: host(t).reshape(a["a"].shape) for n, t in zip(("g", "beta"), result)}

    return size, a["A_log"], lambda: Recording("gdn_gating", gate_inputs(a), after)


def delta_inputs(a, ready_gates=True):
    """q, k, v and ready-made gates of one packed batch, without the leading 1."""
    if a["q"].dim() != 4 or a["q"].shape[0] != 1 or a.get("cu_seqlens") is None:
        raise NotRecorded("a batch that is not packed by cu_seqlens")
    if ready_gates and a["beta"].dim() != 3:
        raise NotRecorded("one beta an element")
    scale = a.get("scale")
    if scale is not None and abs(scale - a["q"].shape[-1] ** -0.5) > 1e-6 * abs(scale):
        raise NotRecorded(f"scale {scale} is not the root of 1 / K")
    names = ("q", "k", "v", "g", "beta") if ready_gates else ("q", "k", "v")
    return {**{n: host(a[n])[0] for n in names},
            "query_start_loc": host(a["cu_seqlens"], torch.int32)}


def fused_recurrent_gated_delta_rule(a):
    """In place on a pool [slots, HV, V, K] (contract vllm_cpu_and_metadata 2.3)."""
    pool, indices = a.get("initial_state"), a.get("ssm_state_indices")
    if pool is None or indices is None or not a.get("inplace_final_state", True):
        raise NotRecorded("no state pool that is updated in place")
    slots = Slots(indices)
    size = 2 * bytes_of(a["q"], a["k"], a["v"], a["beta"]) + slots.bytes(pool)

    def before():
        accepted = a.get("num_accepted_tokens")
        return {**delta_inputs(a), "ssm_state": slots.cut(pool),
                "state_indices": slots.renumber(indices),
                "num_accepted_tokens":
                    None if accepted is None else host(accepted, torch.int32)}

    def after(result):
        out = result[0] if isinstance(result, tuple) else result
        return {"out": host(out)[0], "ssm_state": slots.cut(pool)}

    return size, pool, lambda: Recording(
        "gated_delta_rule", before(), after,
        use_qk_l2norm=int(bool(a.get("use_qk_l2norm_in_kernel", False))))


def chunk_gated_delta_rule(a):
    """-> (o, final state, ..): states are rows, not slots; here they become slots 1, 2, .. of a
    pool whose slot 0 is empty."""
    start = a.get("initial_state")
    if start is None or not a.get("output_final_state", False):
        raise NotRecorded("no start state or no final state")
    size = 2 * bytes_of(a["q"], a["k"], a["v"], a["beta"]) + 8 * start.numel()

    def pool(rows):
        rows = host(rows, torch.float32)
        return torch.cat([torch.zeros_like(rows[:1]), rows])

    def before():
        inputs = {**delta_inputs(a), "ssm_state": pool(start)}
        inputs["state_indices"] = torch.arange(1, start.shape[0] + 1, dtype=torch.int32)
        return inputs

    def after(result):
        return {"out": host(result[0])[0], "ssm_state": pool(result[1])}

    return size, None, lambda: Recording(
        "gated_delta_rule", before(), after, chunked=1,
        use_qk_l2norm=int(bool(a.get("use_qk_l2norm_in_kernel", False))))


def fused_sigmoid_gating_delta_rule_update(a):
    """In place on a pool, with the gates inside (contract sglang_npu 4)."""
    pool, indices = a.get("initial_state_source"), a.get("initial_state_indices")
    if pool is None or indices is None or a.get("softplus_beta", 1.0) != 1.0 or a.get("is_kda"):
        raise NotRecorded("no state pool, another softplus, or KDA")
    if a.get("disable_state_update") or a.get("intermediate_states_buffer") is not None:
        raise NotRecorded("a target verification")
    slots = Slots(indices)
    size = 2 * bytes_of(a["q"], a["k"], a["v"], a["a"], a["b"]) + slots.bytes(pool)

    def before():
        return {**delta_inputs(a, ready_gates=False), **gate_inputs(a),
                "ssm_state": slots.cut(pool), "state_indices": slots.renumber(indices)}

    def after(result):
        return {"out": host(result)[0], "ssm_state": slots.cut(pool)}

    return size, a["A_log"], lambda: Recording(
        "gated_delta_rule", before(), after,
        use_qk_l2norm=int(bool(a.get("use_qk_l2norm_in_kernel", False))))


def causal_conv1d_fn(a, rows_first):
    """x and result [C, N], pool [lines, C, rows] (contract vllm_cpu_and_metadata 2.1).
    `rows_first`: the engine's memory, and so its profile, has [lines, rows, C]."""
    pool, indices = a.get("conv_states"), a.get("cache_indices")
    if pool is None or indices is None or indices.dim() != 1 or a.get("query_start_loc") is None:
        raise NotRecorded("no pool of conv states by slot")
    if a.get("activation") not in ("silu", "swish", True):
        raise NotRecorded("no activation")
    slots = Slots(indices)
    size = 2 * bytes_of(a["x"]) + slots.bytes(pool)

    def rows():
        return slots.cut(pool.transpose(1, 2) if rows_first else pool)

    def before():
        flags = a.get("has_initial_state")
        bias = a.get("bias")
        return {"x": host(a["x"].t()), "weight": host(a["weight"]), "conv_state": rows(),
                "bias": None if bias is None else host(bias),
                "query_start_loc": host(a["query_start_loc"], torch.int32),
                "state_indices": slots.renumber(indices),
                "has_initial_state": None if flags is None else host(flags, torch.bool)}

    def after(result):
        return {"out": host(result.t()), "conv_state": rows()}

    return size, a["weight"], lambda: Recording("causal_conv1d", before(), after)


#: name of the function -> translator; with a package, for that engine's one only
HOOKS = {
    "fused_gdn_gating": fused_gdn_gating,
    "fused_recurrent_gated_delta_rule": fused_recurrent_gated_delta_rule,
    "chunk_gated_delta_rule": chunk_gated_delta_rule,
    "vllm.causal_conv1d_fn": functools.partial(causal_conv1d_fn, rows_first=True),
    "sglang.causal_conv1d_fn": functools.partial(causal_conv1d_fn, rows_first=False),
    "sglang.fused_sigmoid_gating_delta_rule_update": fused_sigmoid_gating_delta_rule_update,
}
#: (namespace, name) in torch.ops -> translator and names of the positional arguments
OP_HOOKS = {("_xpu_C", "gdn_attention"): (gdn_attention, XPU_NAMES)}
PROFILES = {"_xpu_C": "vllm-xpu", "vllm": "vllm-triton", "vllm_xpu_kernels": "vllm-xpu", "sglang": "sglang",
            "sgl_kernel_npu": "sglang-npu", "aiter": "vllm-rocm-aiter", "fla": "fla"}


# ---- recording ----

def current_rank():
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank()
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))


def is_traced():
    compiling = getattr(getattr(torch, "_dynamo", None), "is_compiling", None)
    return bool((compiling and compiling()) or
                (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()))


class LateModules(importlib.abc.MetaPathFinder):
    """Tells of engine modules that are loaded while a capture is on."""

    def __init__(self, loaded):
        self.loaded, self.busy = loaded, threading.local()

    def find_spec(self, name, path, target=None):
        if name.split(".")[0] not in ENGINES or getattr(self.busy, "on", False):
            return None
        self.busy.on = True
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return None
        finally:
            self.busy.on = False
        if spec is None or not hasattr(spec.loader, "exec_module"):
            return None
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            self.loaded(module)

        spec.loader.exec_module = exec_module
        return spec


class Capture:
    """Context manager; see above. `layers`, `steps`, `ranks`: sets of numbers, None for all.
    `max_bytes` limits what this process writes in all."""

    def __init__(self, folder, layers=None, steps=None, ranks=None, functions=None,
                 profile=None, max_bytes=DEFAULT_BYTES):
        self.folder, self.profile, self.max_bytes = folder, profile, max_bytes
        self.layers, self.steps, self.ranks = layers, steps, ranks
        self.functions = functions
        self.files, self.skipped, self.bytes = [], [], 0
        self._patched, self._wrappers, self._finder = [], {}, None
        self._keys, self._calls, self._layer = {}, {}, 0
        self._lock = threading.Lock()

    # -- what is wrapped --

    def __enter__(self):
        os.makedirs(self.folder, exist_ok=True)
        for name, module in list(sys.modules.items()):
            if name.split(".")[0] in ENGINES and isinstance(module, types.ModuleType):
                self._patch_module(module)
        self._patch_ops()
        self._finder = LateModules(self._late)
        sys.meta_path.insert(0, self._finder)
        return self

    def __exit__(self, *_):
        sys.meta_path.remove(self._finder)
        for owner, name, original in reversed(self._patched):
            setattr(owner, name, original)
        self._patched.clear()
        return False

    def _wanted(self, name):
        return self.functions is None or name in self.functions

    def _set(self, owner, name, value):
        self._patched.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def _patch_ops(self):
        """Operators exist once the library that defines them is loaded."""
        for (space, name), (translate, names) in OP_HOOKS.items():
            owner = getattr(torch.ops, space)
            try:
                packet = getattr(owner, name)
            except (AttributeError, RuntimeError):
                continue
            if self._wanted(name) and not hasattr(packet, "gdn_original"):
                self._set(owner, name,
                          self._wrap(packet, name, translate, names, PROFILES[space]))

    def _late(self, module):
        self._patch_module(module)
        self._patch_ops()

    def _patch_module(self, module):
        """Wherever a module holds a function under its public name, also by import."""
        engine = module.__name__.split(".")[0]
        for key, translate in HOOKS.items():
            package, _, name = key.rpartition(".")
            if package not in ("", engine):
                continue
            function = module.__dict__.get(name)
            if not self._wanted(name) or not callable(function) or hasattr(
                    function, "gdn_original"):
                continue
            if id(function) not in self._wrappers:
                try:
                    names = tuple(inspect.signature(function).parameters)
                except (TypeError, ValueError):
                    continue
                self._wrappers[id(function)] = self._wrap(function, name, translate, names,
                                                          PROFILES[engine])
            self._set(module, name, self._wrappers[id(function)])

    def _wrap(self, function, name, translate, names, profile):
        @functools.wraps(function, updated=())
        def wrapper(*args, **kwargs):
            recording = self._begin(name, translate, dict(zip(names, args), **kwargs))
            result = function(*args, **kwargs)
            if recording is not None:
                self._end(recording, result, profile)
            return result
        wrapper.gdn_original = function
        return wrapper

    # -- one call --

    def _number(self, name, key):
        """(layer, step) of this call."""
        if key is not None:
            pointer = (name, key.data_ptr(), tuple(key.shape))
            self._layer = self._keys.setdefault(
                pointer, sum(1 for k in self._keys if k[0] == name))
        layer = self._layer
        step = self._calls.get((name, layer), 0)
        self._calls[name, layer] = step + 1
        return layer, step

    def _begin(self, name, translate, arguments):
        try:
            if is_traced():
                return None
            with torch.no_grad(), self._lock:
                try:
                    size, key, record = translate(arguments)
                except NotRecorded as why:
                    self.skipped.append(f"{name}: {why}")
                    return None
                layer, step = self._number(name, key)
                rank = current_rank()
                for wanted, found in ((self.layers, layer), (self.steps, step),
                                      (self.ranks, rank)):
                    if wanted is not None and found not in wanted:
                        return None
                where = {"function": name, "layer": layer, "step": step, "rank": rank}
                if self.bytes + size > self.max_bytes:
                    self.skipped.append(f"{name} layer {layer} step {step}: {size} bytes are "
                                        f"more than the {self.max_bytes - self.bytes} left")
                    return None
                self.bytes += size
                return where, record()
        except NotRecorded as why:
            self.skipped.append(f"{name}: {why}")
        except Exception as error:  # noqa: B902: the engine must never see it
            warnings.warn(f"gdn capture: {name} was not recorded: {error!r}")
        return None

    def _end(self, recording, result, profile):
        where, call = recording
        try:
            with torch.no_grad(), self._lock:
                tensors = {f"input/{n}": t for n, t in call.inputs.items()}
                tensors.update((f"output/{n}", t) for n, t in call.after(result).items())
                about = {"schema": 1, "op": call.op, "profile": self.profile or profile,
                         "scalars": call.scalars, "source": where}
                path = os.path.join(self.folder, "{function}-layer{layer}-step{step}-rank{rank}"
                                    ".safetensors".format(**where))
                write_safetensors(path, tensors, about)
                self.files.append(path)
        except Exception as error:  # noqa: B902: the engine must never see it
            warnings.warn(f"gdn capture: {where} was not recorded: {error!r}")


# ---- the switch ----

def _numbers(name):
    text = os.environ.get(name, "")
    return {int(n) for n in text.split(",")} if text else None


def install_from_environment():
    """Starts a capture that lasts as long as the process if GDN_CAPTURE names a folder;
    GDN_CAPTURE_LAYERS, _STEPS, _RANKS (numbers joined by commas), _FUNCTIONS (names),
    _PROFILE, _MEGABYTES. Returns it, or None."""
    folder = os.environ.get("GDN_CAPTURE")
    if not folder:
        return None
    functions = os.environ.get("GDN_CAPTURE_FUNCTIONS")
    return Capture(folder, _numbers("GDN_CAPTURE_LAYERS"), _numbers("GDN_CAPTURE_STEPS"),
                   _numbers("GDN_CAPTURE_RANKS"),
                   set(functions.split(",")) if functions else None,
                   os.environ.get("GDN_CAPTURE_PROFILE"),
                   int(os.environ.get("GDN_CAPTURE_MEGABYTES", DEFAULT_BYTES >> 20)) << 20,
                   ).__enter__()


ACTIVE = install_from_environment()
