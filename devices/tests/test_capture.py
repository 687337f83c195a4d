#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The capture hooks on doubles of the engines' ops: what is recorded is judged by check.

The doubles compute in fp64 from the formulas of the contracts, token by token, and know nothing
of the harness. Usage: test_capture.py BINDIR SOURCEDIR [unittest arguments]
"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import types
import unittest
import warnings

try:
    import torch
except ImportError:
    sys.exit("test_capture: torch is missing: .ci/setup tests installs python3-torch")

BIN, SOURCE = sys.argv[1:3]
PROGRAM = os.path.join(BIN, "gdn-conform")
BRIDGE = os.path.join(SOURCE, "devices/bridge")
sys.path.insert(0, BRIDGE)
import capture  # noqa: E402

HK, HV, K, V, W = 2, 4, 8, 12, 4
C = 2 * HK * K + HV * V
T = torch.bfloat16


# ---- doubles ----

def normalise(x):
    return x / torch.sqrt((x * x).sum(-1, keepdim=True) + 1e-6)


def recur(q, k, v, g, beta, state, norm=True, stored=False):
    """One token: q, k [HK,K], v [HV,V], g, beta [HV], state [HV,V,K]; fp64, state updated.
    `stored`: normalised q and k pass through T, as in the engines' chunk kernels."""
    r = v.shape[0] // q.shape[0]
    q, k = (normalise(q), normalise(k)) if norm else (q, k)
    q, k = (q.to(T).double(), k.to(T).double()) if stored else (q, k)
    q, k = (x.repeat_interleave(r, 0) for x in (q * q.shape[-1] ** -0.5, k))
    state *= torch.exp(g)[:, None, None]
    delta = beta[:, None] * (v - torch.einsum("hvk,hk->hv", state, k))
    state += torch.einsum("hv,hk->hvk", delta, k)
    return torch.einsum("hvk,hk->hv", state, q)


def gates(A_log, a, dt_bias, b):
    x = a.double() + dt_bias.double()
    return (-torch.exp(A_log.double()) * torch.nn.functional.softplus(x, threshold=20),
            torch.sigmoid(b.double()))


def fused_gdn_gating(A_log, a, b, dt_bias, beta=1.0, threshold=20.0):
    g, sigmoid = gates(A_log, a, dt_bias, b)
    return g.float()[None], sigmoid.to(b.dtype)[None]


def fused_recurrent_gated_delta_rule(q, k, v, g, beta, scale=None, initial_state=None,
                                     inplace_final_state=True, cu_seqlens=None,
                                     ssm_state_indices=None, num_accepted_tokens=None,
                                     use_qk_l2norm_in_kernel=False):
    out = torch.empty_like(v)
    for n in range(len(cu_seqlens) - 1):
        slots = ssm_state_indices[n].reshape(-1)
        first = 0 if num_accepted_tokens is None else max(int(num_accepted_tokens[n]) - 1, 0)
        state = initial_state[slots[first]].double()
        for i, t in enumerate(range(int(cu_seqlens[n]), int(cu_seqlens[n + 1]))):
            out[0, t] = recur(*(x[0, t].double() for x in (q, k, v, g, beta)), state,
                              use_qk_l2norm_in_kernel).to(v.dtype)
            if num_accepted_tokens is not None:
                initial_state[slots[i]] = state.to(initial_state.dtype)
        if num_accepted_tokens is None:
            initial_state[slots[0]] = state.to(initial_state.dtype)
    return out, initial_state


def chunk_gated_delta_rule(q, k, v, g, beta, scale=None, initial_state=None,
                           output_final_state=False, cu_seqlens=None, head_first=False,
                           use_qk_l2norm_in_kernel=False):
    out, final = torch.empty_like(v), initial_state.double()
    for n in range(len(cu_seqlens) - 1):
        for t in range(int(cu_seqlens[n]), int(cu_seqlens[n + 1])):
            out[0, t] = recur(*(x[0, t].double() for x in (q, k, v, g, beta)), final[n],
                              use_qk_l2norm_in_kernel, stored=True).to(v.dtype)
    return out, final.float()


def fused_sigmoid_gating_delta_rule_update(
        A_log, a, dt_bias, softplus_beta, softplus_threshold, q, k, v, b,
        initial_state_source, initial_state_indices, scale=None,
        use_qk_l2norm_in_kernel=False, cu_seqlens=None):
    g, beta = gates(A_log, a, dt_bias, b)
    return fused_recurrent_gated_delta_rule(
        q, k, v, g[None], beta[None], initial_state=initial_state_source,
        cu_seqlens=cu_seqlens, ssm_state_indices=initial_state_indices,
        use_qk_l2norm_in_kernel=use_qk_l2norm_in_kernel)[0]


def convolve(x, weight, bias, history, products=torch.float64):
    """x [L,C], history [W-1,C] -> y [L,C] in fp64 and the last W-1 inputs. `products`: the type
    that each weight times its input is rounded to; T in the Triton kernels."""
    line = torch.cat([history, x])
    y = sum((line[w:w + len(x)].double() * weight[:, w].double()).to(products).double()
            for w in range(W))
    y = y + (0 if bias is None else bias.double())
    return y * torch.sigmoid(y), line[-(W - 1):]


def causal_conv1d_fn(x, weight, bias, conv_states=None, query_start_loc=None,
                     cache_indices=None, has_initial_state=None, activation="silu",
                     pad_slot_id=-1):
    out = torch.empty_like(x)
    for n, slot in enumerate(cache_indices):
        first, last = int(query_start_loc[n]), int(query_start_loc[n + 1])
        history = conv_states[slot].t().clone()
        if not has_initial_state[n]:
            history.zero_()
        y, rest = convolve(x[:, first:last].t(), weight, bias, history, T)
        out[:, first:last] = y.t().to(x.dtype)
        conv_states[slot] = rest.t()
    return out


def gdn_attention(core_attn_out, z, qkvz, ba, *rest):
    """Prefills and decodes in the separate layout, as torch.ops._xpu_C.gdn_attention."""
    a = dict(zip(capture.XPU_NAMES[4:], rest))
    starts, slots = a["non_spec_query_start_loc"], a["non_spec_state_indices_tensor"]
    for n, slot in enumerate(slots):
        first, last = int(starts[n]), int(starts[n + 1])
        state = a["ssm_state"][slot].double()
        history = a["conv_state"][slot][:W - 1].clone()
        if not a["has_initial_state"][n]:
            state.zero_()
            history.zero_()
        y, rest = convolve(qkvz[first:last, :C], a["conv_weights"], a["conv_bias"], history)
        y = y.to(T).double()  # the profile stores it so
        g, beta = gates(a["A_log"], ba[first:last, HV:], a["dt_bias"], ba[first:last, :HV])
        for i, t in enumerate(range(first, last)):
            q, k, v = y[i].split((HK * K, HK * K, HV * V))
            core_attn_out[t] = recur(q.view(HK, K), k.view(HK, K), v.view(HV, V), g[i],
                                     beta[i], state).to(T)
            z[t] = qkvz[t, C:].view(HV, V)
        a["ssm_state"][slot] = state.to(a["ssm_state"].dtype)
        a["conv_state"][slot][:W - 1] = rest


SCHEMA = ("gdn_attention(Tensor(a!) core_attn_out, Tensor(b!) z, Tensor qkvz, Tensor ba, "
          "int num_k_heads, int num_v_heads, int head_k_dim, int head_v_dim, "
          "Tensor(c!) conv_state, Tensor(d!) ssm_state, Tensor conv_weights, "
          "Tensor? conv_bias, str activation, Tensor A_log, Tensor dt_bias, "
          "int num_prefills, int num_decodes, int num_spec_decodes, "
          "Tensor? has_initial_state, Tensor? non_spec_query_start_loc, "
          "Tensor? non_spec_token_indx, Tensor? non_spec_state_indices_tensor, "
          "Tensor? spec_query_start_loc, Tensor? spec_token_indx, "
          "Tensor? spec_state_indices_tensor, Tensor? num_accepted_tokens, "
          "int num_actual_tokens, int tp_size, bool reorder_input) -> ()")
LIBRARY = torch.library.Library("_xpu_C", "DEF")
LIBRARY.define(SCHEMA)
LIBRARY.impl("gdn_attention", gdn_attention, "CPU")

FUNCTIONS = (fused_gdn_gating, fused_recurrent_gated_delta_rule, chunk_gated_delta_rule,
             causal_conv1d_fn, fused_sigmoid_gating_delta_rule_update)


def install(engine):
    """<engine>.ops has the functions, <engine>.layer has imported them by name."""
    for name in (engine, engine + ".ops", engine + ".layer"):
        module = types.ModuleType(name)
        if name != engine:
            for function in FUNCTIONS:
                setattr(module, function.__name__, function)
        sys.modules[name] = module
    return sys.modules[engine + ".layer"]


# ---- calls ----

def rand(*shape, dtype=T):
    return torch.randn(*shape).to(dtype)


def delta_arguments(starts):
    n = starts[-1]
    return {"q": rand(1, n, HK, K), "k": rand(1, n, HK, K), "v": rand(1, n, HV, V),
            "g": -torch.rand(1, n, HV), "beta": torch.rand(1, n, HV).to(T),
            "cu_seqlens": torch.tensor(starts, dtype=torch.int32),
            "use_qk_l2norm_in_kernel": True}


class Layer:
    """One GDN layer with its weights and pools, called as an engine would."""

    def __init__(self):
        self.A_log, self.dt_bias = torch.randn(HV), rand(HV)
        self.weight = rand(C, W)
        self.conv = rand(20, W - 1, C).transpose(1, 2)  # rows first in memory, as vLLM's
        self.ssm = torch.randn(20, HV, V, K)

    def xpu(self, rows=9, used=7):
        pools = rand(20, W - 1, C), torch.randn(20, HV, V, K)
        arguments = (
            torch.zeros(rows, HV, V, dtype=T), torch.zeros(rows, HV, V, dtype=T),
            rand(rows, C + HV * V), rand(rows, 2 * HV), HK, HV, K, V, *pools, self.weight,
            rand(C), "silu", self.A_log, self.dt_bias, 1, 2, 0,
            torch.tensor([False, True, True]), torch.tensor([0, 5, 6, used]).int(), None,
            torch.tensor([17, 3, 9]).int(), None, None, None, None, used, 1, True)
        torch.ops._xpu_C.gdn_attention(*arguments)
        return arguments

    def step(self, module):
        """-> everything that came out."""
        n = 6
        g, beta = module.fused_gdn_gating(self.A_log, rand(n, HV), rand(n, HV), self.dt_bias)
        y = module.causal_conv1d_fn(
            rand(n, C).t(), self.weight, None, conv_states=self.conv,
            query_start_loc=torch.tensor([0, 4, n]).int(),
            cache_indices=torch.tensor([5, 2]).int(),
            has_initial_state=torch.tensor([True, False]), activation="silu")
        o, final = module.chunk_gated_delta_rule(
            initial_state=self.ssm[[4, 8]], output_final_state=True,
            **delta_arguments([0, 5, 7]))
        d, _ = module.fused_recurrent_gated_delta_rule(
            initial_state=self.ssm, ssm_state_indices=torch.tensor([11, 6, 7]).int(),
            **delta_arguments([0, 1, 2, 3]))
        s, _ = module.fused_recurrent_gated_delta_rule(
            initial_state=self.ssm,
            ssm_state_indices=torch.tensor([[1, 2, 3], [12, 10, 9]]).int(),
            num_accepted_tokens=torch.tensor([2, 0]).int(), **delta_arguments([0, 3, 6]))
        return [g, beta, y, o, final, d, s, self.conv.clone(), self.ssm.clone()]

    def sglang_decode(self, module):
        arguments = delta_arguments([0, 1, 2])
        del arguments["g"], arguments["beta"]
        return module.fused_sigmoid_gating_delta_rule_update(
            self.A_log, rand(2, HV), self.dt_bias, 1.0, 20.0, b=rand(2, HV),
            initial_state_source=self.ssm, initial_state_indices=torch.tensor([3, 9]).int(),
            **arguments)


def model_run(module, layers=3, steps=2):
    torch.manual_seed(11)
    stack = [Layer() for _ in range(layers)]
    return [t for _ in range(steps) for layer in stack for t in layer.step(module)]


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="gdn-capture-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.module = install("vllm")
        self.addCleanup(lambda: [sys.modules.pop(n) for n in list(sys.modules)
                                 if n.split(".")[0] in ("vllm", "sglang")])
        warnings.simplefilter("error", UserWarning)  # a recording that failed
        torch.manual_seed(3)

    def capture(self, **more):
        return capture.Capture(self.folder, **more)

    def check(self, code, files):
        result = subprocess.run([PROGRAM, "check", *files], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)
        self.assertEqual(result.returncode, code, result.stdout)
        return result.stdout

    def about(self, path):
        with open(path, "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        return json.loads(header["__metadata__"]["gdn_capture"])


class Recorded(Case):
    def test_recorded_calls_of_right_ops_pass(self):
        with self.capture() as c:
            model_run(self.module, layers=2, steps=1)
            Layer().xpu()
        self.assertEqual(c.skipped, [])
        self.assertEqual(len(c.files), 2 * 5 + 1)
        self.check(0, c.files)

    def test_recorded_calls_of_sglang_pass(self):
        for name in [n for n in sys.modules if n.split(".")[0] == "vllm"]:
            sys.modules.pop(name)  # the doubles would be shared with it
        module = install("sglang")
        with self.capture(functions={"causal_conv1d_fn", "fused_gdn_gating",
                                     "chunk_gated_delta_rule",
                                     "fused_sigmoid_gating_delta_rule_update"}) as c:
            layer = Layer()
            layer.step(module)
            layer.sglang_decode(module)
        self.assertEqual(len(c.files), 4, c.skipped)
        self.assertEqual({self.about(f)["profile"] for f in c.files}, {"sglang"})
        self.check(0, c.files)

    def test_recorded_calls_of_wrong_ops_fail(self):
        right = recur

        def wrong(*arguments, **more):
            out = right(*arguments, **more)
            arguments[5].add_(0.05)  # the state
            return out

        globals()["recur"] = wrong
        try:
            with self.capture(functions={"chunk_gated_delta_rule", "gdn_attention"}) as c:
                model_run(self.module, layers=1, steps=1)
                Layer().xpu()
        finally:
            globals()["recur"] = right
        self.assertEqual(len(c.files), 2)
        for file in c.files:
            self.assertIn("ssm_state", self.check(1, [file]))

    def test_a_write_to_slot_0_or_to_a_pad_row_is_seen(self):
        packet = torch.ops._xpu_C.gdn_attention
        for argument, place in ((9, "ssm_state[0,0,0,0]"), (0, "core_attn_out[8,0,0]")):
            def stray(*arguments):
                gdn_attention(*arguments)
                tensor = arguments[argument]  # noqa: B023
                tensor[(0,) * tensor.dim() if argument else (-1, 0, 0)] = 5.0  # noqa: B023

            torch.ops._xpu_C.gdn_attention = stray
            try:
                with self.capture() as c:
                    Layer().xpu()
            finally:
                torch.ops._xpu_C.gdn_attention = packet
            self.assertIn(place, self.check(1, c.files))

    def test_layers_steps_and_names(self):
        with self.capture(layers={1}, steps={0, 1}, ranks={0},
                          functions={"fused_gdn_gating", "chunk_gated_delta_rule"}) as c:
            model_run(self.module, layers=3, steps=3)
        self.assertEqual(sorted(os.path.basename(f) for f in c.files), [
            f"{function}-layer1-step{step}-rank0.safetensors"
            for function in ("chunk_gated_delta_rule", "fused_gdn_gating") for step in (0, 1)])
        self.assertEqual(self.about(c.files[0])["source"],
                         {"function": "fused_gdn_gating", "layer": 1, "step": 0, "rank": 0})
        with self.capture(ranks={1}) as c:
            model_run(self.module, layers=1, steps=1)
        self.assertEqual(c.files, [])

    def test_only_named_slots_are_kept(self):
        layer = Layer()
        layer.ssm = torch.randn(5000, HV, V, K)
        with self.capture(functions={"fused_recurrent_gated_delta_rule"}) as c:
            layer.step(self.module)
        self.assertLess(max(os.path.getsize(f) for f in c.files), 100000)
        self.check(0, c.files)


class NoEffect(Case):
    def test_results_are_bit_equal_with_and_without(self):
        plain = model_run(self.module)
        with self.capture():
            recorded = model_run(self.module)
        for a, b in zip(plain, recorded):
            self.assertTrue(torch.equal(a, b))
        self.assertIs(self.module.fused_gdn_gating, fused_gdn_gating)

    def test_everything_is_put_back(self):
        packet = torch.ops._xpu_C.gdn_attention
        finders = list(sys.meta_path)
        with self.assertRaises(KeyError):
            with self.capture():
                self.assertIsNot(self.module.fused_gdn_gating, fused_gdn_gating)
                self.assertIsNot(torch.ops._xpu_C.gdn_attention, packet)
                raise KeyError
        for name in ("vllm.ops", "vllm.layer"):
            for function in FUNCTIONS:
                self.assertIs(getattr(sys.modules[name], function.__name__), function)
        self.assertIs(torch.ops._xpu_C.gdn_attention, packet)
        self.assertEqual(sys.meta_path, finders)

    def test_a_full_disk_and_odd_calls_do_not_reach_the_engine(self):
        warnings.simplefilter("ignore")
        with self.capture() as c:
            shutil.rmtree(self.folder)
            model_run(self.module, layers=1, steps=1)
            os.mkdir(self.folder)
            self.module.fused_gdn_gating(torch.zeros(HV), rand(2, HV), rand(2, HV),
                                         rand(HV), beta=2.0)
            with self.assertRaises(TypeError):
                self.module.fused_gdn_gating()
        self.assertEqual(c.files, [])
        self.assertTrue(any("beta" in s for s in c.skipped))

    def test_exceptions_of_the_op_stay_its_own(self):
        def broken(A_log, a, b, dt_bias):
            raise ArithmeticError("the kernel's own")

        self.module.fused_gdn_gating = broken
        with self.capture() as c:
            with self.assertRaisesRegex(ArithmeticError, "the kernel's own"):
                self.module.fused_gdn_gating(torch.zeros(HV), rand(2, HV), rand(2, HV),
                                             rand(HV))
        self.assertEqual(c.files, [])

    def test_the_cap_holds(self):
        with self.capture(max_bytes=30000) as c:
            model_run(self.module)
        self.assertTrue(c.files)
        self.assertTrue(any("bytes are more than" in s for s in c.skipped))
        self.assertLessEqual(c.bytes, 30000)
        self.assertLess(sum(os.path.getsize(f) for f in c.files), 2 * 30000)


class Loading(Case):
    def test_modules_that_are_loaded_later(self):
        package = os.path.join(self.folder, "sglang")
        os.mkdir(package)
        open(os.path.join(package, "__init__.py"), "w").close()
        with open(os.path.join(package, "late.py"), "w", encoding="ascii") as file:
            file.write("def fused_gdn_gating(A_log, a, b, dt_bias):\n    return a, b\n")
        sys.path.insert(0, self.folder)
        self.addCleanup(sys.path.remove, self.folder)
        with self.capture() as c:
            from sglang import late
            late.fused_gdn_gating(torch.zeros(HV), rand(2, HV), rand(2, HV), rand(HV))
        self.assertEqual(len(c.files), 1)
        self.assertFalse(hasattr(late.fused_gdn_gating, "gdn_original"))

    def test_the_switch(self):
        package = os.path.join(self.folder, "vllm")
        os.mkdir(package)
        with open(os.path.join(package, "__init__.py"), "w", encoding="ascii") as file:
            file.write("import torch\n"
                       "def fused_gdn_gating(A_log, a, b, dt_bias):\n"
                       "    return torch.zeros(2, 4), torch.zeros(2, 4)\n")
        code = ("import torch, vllm\nweights = torch.zeros(4)\nfor _ in range(3):\n"
                "    vllm.fused_gdn_gating(weights, torch.zeros(2, 4), torch.zeros(2, 4), "
                "weights)\n")
        target = os.path.join(self.folder, "out")
        env = {**os.environ, "GDN_CAPTURE": target, "GDN_CAPTURE_STEPS": "1", "RANK": "2",
               "GDN_CAPTURE_PROFILE": "vllm-xpu",
               "PYTHONPATH": os.path.join(BRIDGE, "autoload") + ":" + self.folder}
        subprocess.run([sys.executable, "-c", code], env=env, check=True)
        self.assertEqual(os.listdir(target), ["fused_gdn_gating-layer0-step1-rank2.safetensors"])
        self.assertIn("beta", self.check(1, [os.path.join(target, os.listdir(target)[0])]))
        env.pop("GDN_CAPTURE")
        shutil.rmtree(target)
        subprocess.run([sys.executable, "-c", code], env=env, check=True)
        self.assertFalse(os.path.exists(target))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
