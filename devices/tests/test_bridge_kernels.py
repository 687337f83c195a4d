#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vLLM's CPU kernels and AITER's against op doubles, broken ones, and backends whose packages are
not here.

Usage: test_bridge_kernels.py BINDIR SOURCEDIR [unittest arguments]
"""
import os
import subprocess
import sys
import unittest

from test_bridge_doubles import BRIDGE, PROGRAM, Case

# Small heads and short batches; the whole suites pass too, in half a minute each.
SMALL = "custom-hk2-hv6-k64-v32-w4"


class VllmCpu(Case):
    NAME = "vllm_cpu"

    def test_convolution_weights_and_gates(self):
        self.passes(10, "vllm_cpu,double", "vllm-cpu-amx", "c*/vllm-cpu-amx@sd/qwen3-next-tp8/*")
        self.passes(2, "vllm_cpu,double", "vllm-cpu-amx", "gdn_gating/*@sd/*m0")
        self.assertEqual(self.identity["hardware"], "op double, not run on hardware")

    def test_decode_and_speculative_decode(self):
        self.passes(7, "vllm_cpu,double", "vllm-cpu-amx", f"gated_delta_rule/*/{SMALL}/*")

    def test_one_beta_rounding_less_is_named(self):
        path = self.broken("doubles", "decay, beta = log_decay(A_log, a, dt_bias).exp(), "
                           "thrice_rounded(b).float()",
                           "decay, beta = log_decay(A_log, a, dt_bias).exp(), "
                           "b.float().sigmoid()")
        self.run_cases(f"vllm_cpu,double={path}", "vllm-cpu-amx",
                       f"gated_delta_rule/*/{SMALL}/decode-dec5/*")
        # By a command of its own: what run itself spends on names depends on the clock.
        result = subprocess.run([PROGRAM, "diagnose", os.path.join(self.folder, "report.json")],
                                env={**os.environ, "GDN_PYTHON": sys.executable},
                                stdout=subprocess.PIPE, text=True, check=False)
        self.assertIn("beta_rounding_other", result.stdout)

    def test_a_weight_that_is_packed_twice(self):
        self.backend_fails('call.conventions["conv_weight"] == "vnni"}', "False}",
                           "vllm-cpu-amx", "causal_conv1d/*@sd/qwen3-next-tp8/*pre1x2/*")

    def test_int64_indices(self):
        self.backend_fails('initial_state_indices=call["state_indices"], **common)',
                           'initial_state_indices=call["state_indices"].long(), **common)',
                           "vllm-cpu-amx", f"gated_delta_rule/*/{SMALL}/decode-dec5/*")
        self.assertIn("expected int32 but found torch.int64", self.stdout)

    def test_a_build_that_restrides_a_state_with_channels_first(self):
        path = self.broken("doubles", 'check(x.stride(0) == 1 and x.stride(1) == x.shape[0], '
                           '"expect x to be transposed")\n    check_int32(query_start_loc',
                           'if conv_states.stride(1) != 1:\n        conv_states.as_strided_('
                           'conv_states.shape, (conv_states.stride(0), 1, x.shape[0]))\n'
                           '    check_int32(query_start_loc')
        verdicts = self.run_cases(f"vllm_cpu,double={path}", "vllm-cpu-amx",
                                  "causal_conv1d/*/qwen3-next-tp8/*pre1x[13]/*")
        self.assertEqual(set(verdicts), {"pass", "unsupported"}, self.stdout)
        self.assertIn("changes the caller's strides", self.stdout)


class VllmRocm(Case):
    NAME = "vllm_rocm"
    ON_HOST = "vllm_rocm,device=cpu,double"

    def test_the_fast_path_whole(self):
        self.passes(4, self.ON_HOST, "vllm-rocm-aiter", "gdn_attention/*tp8/*dec5*")

    def test_recurrence_speculation_and_convolution(self):
        self.passes(5, self.ON_HOST, "vllm-rocm-aiter", f"gated_delta_rule/*/{SMALL}/*fused*")
        self.passes(1, self.ON_HOST, "vllm-rocm-aiter", "causal_conv1d/*tp8/*pad3*")

    def broken_double_fails(self, old, new, glob, count=1):
        path = self.broken("doubles", old, new, count)
        verdicts = self.run_cases(f"vllm_rocm,device=cpu,double={path}", "vllm-rocm-aiter", glob)
        self.assertGreater(verdicts.get("fail", 0), 0, f"{new}: {self.stdout}")

    def test_a_wrong_layout(self):
        """The bug that took a model's answers from 0.92 to 0."""
        self.broken_double_fails('if layout == "flat":', "if False:",
                                 "gdn_attention/*qwen3.5-*dec5*")

    def test_a_view_of_the_state_instead_of_its_transpose(self):
        self.broken_double_fails(
            "state = initial_state[row[first]].float()",
            "state = initial_state[row[first]].float().view(hv, head_k_dim, head_v_dim)"
            ".transpose(1, 2)", f"gated_delta_rule/*/{SMALL}/*dec*")

    def test_a_pad_that_is_written(self):
        self.broken_double_fails("or row[first] < 0:\n            continue",
                                 "and row[first] < 0:\n            continue",
                                 "gdn_attention/*pad3*")

    def test_beta_where_others_have_the_output_buffer(self):
        path = self.broken("backends", 'v=call["v"][None], g=call["g"][None],\n        beta',
                           'v=call["v"][None], o=call["g"][None],\n        beta')
        double = os.path.join(BRIDGE, "doubles/vllm_rocm.py")
        verdicts = self.run_cases(f"{path},device=cpu,double={double}", "vllm-rocm-aiter",
                                  f"gated_delta_rule/*/{SMALL}/prefill*x15/*")
        self.assertEqual(set(verdicts), {"fail"}, self.stdout)


class Absent(Case):
    def test_a_missing_package_is_named(self):
        """Nothing of theirs is needed to say that they are not here."""
        result = subprocess.run([PROGRAM, "devices"], stdout=subprocess.PIPE, text=True,
                                env={**os.environ, "GDN_PYTHON": sys.executable}, check=False)
        for name, package in (("fla", "fla"), ("flashinfer", "flashinfer"), ("vllm_cpu", "vllm"),
                              ("vllm_rocm", "aiter"), ("vllm_triton", "vllm")):
            line = next(x for x in result.stdout.splitlines()
                        if x.split()[0] == f"bridge:{name}")
            self.assertEqual(line.split()[1], "unavailable", line)
            self.assertIn(f"ModuleNotFoundError: No module named '{package}'", line)

    def test_a_checkout_that_is_none(self):
        result = subprocess.run([PROGRAM, "run", "--suite", "smoke", "--device",
                                 "bridge:vllm_triton,checkout=/nowhere"], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, check=False,
                                env={**os.environ, "GDN_PYTHON": sys.executable})
        self.assertEqual(result.returncode, 4, result.stdout)
        self.assertIn("there is no vllm/ in /nowhere", result.stdout)


class Declined(Case):
    """What supports() says needs no package: each op of a suite is taken or declined by name."""

    def backend(self, name, suite):
        """The backend with a probe that finds its package and ops that do nothing."""
        self.NAME = name
        with open(os.path.join(BRIDGE, "backends", name + ".py"), encoding="utf-8") as file:
            text = file.read()
        path = os.path.join(self.folder, "present.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "\n\ndef probe():\n    return {}\n\n\ndef nothing(call):\n"
                       "    return None\n\n\nfor op in ('causal_conv1d', 'gated_delta_rule', "
                       "'gdn_attention'):\n    if op in globals():\n"
                       "        globals()[op] = nothing\n")
        self.run_cases(path, suite)
        reasons = {}
        for case in self.report["cases"]:
            if case["verdict"] == "unsupported":
                reasons.setdefault(case["message"].split(":")[0], []).append(case["id"])
        return reasons

    def test_fla_takes_its_suite(self):
        self.assertEqual(self.backend("fla", "fla"), {})

    def test_flashinfer_starts_from_the_pool_alone(self):
        reasons = self.backend("flashinfer", "flashinfer")
        self.assertEqual(list(reasons), ["the multi-token op starts from the pool, never from an "
                                         "intermediate state"])
        self.assertEqual({i.split("/")[3].split("-")[0] for i in sum(reasons.values(), [])},
                         {"spec"})

    def test_vllm_says_which_of_its_kernels_are_no_functions(self):
        reasons = self.backend("vllm_triton", "vllm-triton")
        self.assertEqual({i.split("/")[0] for i in sum(reasons.values(), [])},
                         {"gdn_gating", "gdn_attention", "gdn_metadata"})


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
