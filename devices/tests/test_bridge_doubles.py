#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Backends whose hardware is not here, against op doubles under the real ops' names: right ones
pass their cases, and what is broken on purpose, in a double or in the backend, fails.

Usage: test_bridge_doubles.py BINDIR SOURCEDIR [unittest arguments]
"""
import collections
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True

BIN, SOURCE = sys.argv[1:3]
PROGRAM = os.path.join(BIN, "gdn-conform")
BRIDGE = os.path.join(SOURCE, "devices/bridge")
TESTS = os.path.join(SOURCE, "devices/tests")


class Case(unittest.TestCase):
    NAME = None  # of the backend and of its double

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="gdn-doubles-")
        self.addCleanup(shutil.rmtree, self.folder)

    def run_cases(self, device, suite, glob="*"):
        """-> how many cases ended in which verdict; self.report is the report."""
        path = os.path.join(self.folder, "report.json")
        result = subprocess.run(
            [PROGRAM, "run", "--device", f"bridge:{device}", "--suite", suite, "--case", glob,
             "--report", path, "--no-diagnosis"],
            env={**os.environ, "GDN_PYTHON": sys.executable}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False)
        self.assertIn(result.returncode, (0, 1, 3), result.stdout)
        self.stdout = result.stdout
        with open(path, encoding="utf-8") as file:
            self.report = json.load(file)
        self.identity = self.report["device"]
        return dict(collections.Counter(c["verdict"] for c in self.report["cases"]))

    def passes(self, count, *arguments):
        verdicts = self.run_cases(*arguments)
        self.assertEqual(verdicts, {"pass": count}, self.stdout)

    def broken(self, what, old, new, count=1):
        """A copy of the backend ("backends") or of its double with one thing wrong."""
        with open(os.path.join(BRIDGE, what, self.NAME + ".py"), encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(text.count(old), count, old)
        path = os.path.join(self.folder, what + ".py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(old, new))
        return path

    def double_fails(self, old, new, suite, glob, count=1):
        path = self.broken("doubles", old, new, count)
        verdicts = self.run_cases(f"{self.NAME},double={path}", suite, glob)
        self.assertGreater(verdicts.get("fail", 0), 0, f"{new}: {self.stdout}")

    def backend_fails(self, old, new, suite, glob, count=1):
        path = self.broken("backends", old, new, count)
        double = os.path.join(BRIDGE, "doubles", self.NAME + ".py")
        verdicts = self.run_cases(f"{path},double={double}", suite, glob)
        self.assertGreater(verdicts.get("fail", 0), 0, f"{new}: {self.stdout}")


class VllmXpu(Case):
    NAME = "vllm_xpu"

    def test_the_fused_op_with_a_sliding_line_and_ragged_drafts(self):
        self.passes(28, "vllm_xpu,double", "smoke", "gdn_attention/vllm-xpu@b/*")
        self.assertEqual(self.identity["hardware"], "op double, not run on hardware")
        self.assertIn("op double, not run on hardware", self.identity["driver"])
        self.assertIn("conv window sliding, ragged drafts", self.identity["build"])
        self.assertFalse([c for c in self.report["cases"] if "returned" in c])

    def test_the_stages_with_snapshots(self):
        self.passes(23, "vllm_xpu,ops=split,double=@a", "smoke", "gdn_attention/vllm-xpu@a/*")
        self.assertIn("conv window snapshot, no ragged drafts", self.identity["build"])

    def test_the_delta_stage_alone(self):
        self.passes(4, "vllm_xpu,ops=split,double",
                    os.path.join(TESTS, "vllm_xpu_stages.json"))

    def test_heads_of_the_models(self):
        self.passes(3, "vllm_xpu,double", "qwen3-next",
                    "gdn_attention/vllm-xpu@b/qwen3-next-tp8/mixed-*n0")

    def test_what_the_ops_do_not_offer_is_declined_by_name(self):
        verdicts = self.run_cases("vllm_xpu,double", "smoke", "*/vllm-xpu@?/*1x[69]/*")
        self.assertEqual(set(verdicts), {"pass", "unsupported"})
        reasons = {c["id"].split("/")[0]: c["message"] for c in self.report["cases"]
                   if c["verdict"] == "unsupported"}
        self.assertIn("no causal_conv1d", reasons["causal_conv1d"])

    def test_another_revision_than_the_profile_variant_is_declined(self):
        verdicts = self.run_cases("vllm_xpu,double=@a", "smoke",
                                  "gdn_attention/vllm-xpu@b/*spec1*")
        self.assertEqual(set(verdicts), {"unsupported"})
        self.assertIn("conv_window sliding: this op knows snapshot", self.stdout)

    def test_a_wrong_layout(self):
        self.double_fails("self.k, self.v, self.separate = head_k_dim, head_v_dim, separate",
                          "self.k, self.v, self.separate = head_k_dim, head_v_dim, not separate",
                          "smoke", "gdn_attention/vllm-xpu@b/*dec3/*")

    def test_a_view_of_the_state_instead_of_its_transpose(self):
        self.double_fails(
            "state = ssm_state[slot].float()\n",
            "state = ssm_state[slot].view(v.shape[1], q.shape[2], v.shape[2])"
            ".transpose(1, 2).float().contiguous()\n",
            "smoke", "gdn_attention/vllm-xpu@b/*dec1/*")

    def test_a_write_to_slot_0(self):
        self.double_fails("state = ssm_state[slot].float()\n",
                          "state = ssm_state[slot].float()\n        ssm_state[0, 0, 0, 0] = 1\n",
                          "smoke", "gdn_attention/vllm-xpu@b/*dec1/*")

    def test_int64_indices(self):
        self.backend_fails("attend({name: call[name] for name in call.tensors}, scalars)",
                           "attend({name: call[name].long() if name.endswith('_loc') else "
                           "call[name] for name in call.tensors}, scalars)",
                           "smoke", "gdn_attention/vllm-xpu@b/*dec1/*")
        case = next(c for c in self.report["cases"] if c["verdict"] == "fail")
        self.assertIn("query_start_loc must be int32 but is torch.int64", case["message"])
        self.assertIn("Traceback", case["output"])


class SglangNpu(Case):
    NAME = "sglang_npu"
    DECODE = "gated_delta_rule/sglang-npu@decode/*pad2/*"
    VERIFY = "gated_delta_rule/sglang-npu@verify/*"

    def test_its_suite(self):
        self.passes(95, "sglang_npu,double", "sglang-npu")
        self.assertIn("states decode kv, chunk kv", self.identity["build"])

    def test_a_release_with_states_the_other_way_round_is_declined(self):
        path = self.broken("doubles", "                initial_state_source[slot] = state.to(",
                           "                initial_state_source[slot] = state.transpose(1, 2).to(")
        verdicts = self.run_cases(f"sglang_npu,double={path}", "smoke", self.DECODE)
        self.assertEqual(verdicts, {"unsupported": 1})
        self.assertIn("state_order kv: this op knows vk", self.stdout)

    def test_target_verify_by_the_other_convolutions(self):
        for conv in ("update", "run_mode"):
            self.passes(2, f"sglang_npu,double,conv={conv}", "smoke",
                        "causal_conv1d/sglang-npu@verify/*")

    def test_trees_and_commits(self):
        verdicts = self.run_cases("sglang_npu,double", "tree", "*/sglang-npu@*")
        self.assertEqual(verdicts, {"pass": 23, "unsupported": 5}, self.stdout)
        self.assertEqual({c["message"] for c in self.report["cases"]
                          if c["verdict"] == "unsupported"},
                         {"the op throws at packed masks",
                          "the op takes accept_index as wide as the chain only",
                          "the op verifies token by token, not in blocks"})

    def test_a_write_to_slot_minus_one(self):
        self.double_fails("            if slot >= 0:\n                initial_state_source[slot] =",
                          "            if True:\n                initial_state_source[slot] =",
                          "smoke", self.DECODE)

    def test_a_view_of_the_state_instead_of_its_transpose(self):
        self.double_fails("state = start.float().transpose(1, 2).clone()",
                          "state = start.float().reshape(nv, dk, dv)", "smoke", self.VERIFY)

    def test_int64_indices_are_misread(self):
        self.backend_fails('ssm_state_indices=call["intermediate_indices"],',
                           'ssm_state_indices=call["intermediate_indices"].long(),',
                           "smoke", self.VERIFY)

    def test_windows_that_are_not_rolled_back(self):
        self.double_fails("        if step >= 0 and shift > 0:\n", "        if False:\n",
                          "tree", "state_commit/sglang-npu@*/plain-mixed/*")


class FastdeployXpu(Case):
    NAME = "fastdeploy_xpu"
    OPS = ("verify_draft_tokens", "top_p_candidates", "gather_next_token")

    def test_its_suite_in_both_revisions(self):
        for revision, counts in (("a", (28, 13, 4)), ("b", (28, 11, 6))):
            for op, count in zip(self.OPS, counts):
                self.passes(count, f"fastdeploy_xpu,double=@{revision}", "fastdeploy-xpu",
                            f"{op}/fastdeploy-xpu@{revision}/*")
                self.assertIn(f"revision {revision}", self.identity["build"])

    def test_ops_without_a_bridge_are_declined_by_name(self):
        verdicts = self.run_cases("fastdeploy_xpu,double", "fastdeploy-xpu",
                                  "naive_update_model_status/*")
        self.assertEqual(verdicts, {"unsupported": 4})
        self.assertIn("this backend has no naive_update_model_status", self.stdout)

    def test_seed_0_for_every_slot(self):
        self.double_fails("engine = Engine(call + slot)", "engine = Engine(0)",
                          "fastdeploy-xpu", "verify_draft_tokens/fastdeploy-xpu@b/*topp-*")

    def test_a_length_one_too_long(self):
        self.double_fails("lens[b] = slot.length", "lens[b] = slot.length + slot.stopped",
                          "fastdeploy-xpu", "verify_draft_tokens/fastdeploy-xpu@b/*greedy-*")

    def test_the_draws_that_the_op_is_known_for(self):
        """Contract draft_verification 2.5, host values."""
        sys.path.insert(0, os.path.join(BRIDGE, "backends"))
        self.addCleanup(sys.path.pop, 0)
        import fastdeploy_xpu as backend
        known = {("a", 0): [0.159793362] * 4, ("a", 7): [0.159793362] * 4,
                 ("b", 0): [0.1597934, 0.1338766, 0.9036040, 0.5587660],
                 ("b", 1): [0.1364070, 0.8502361, 0.1957638, 0.4538297],
                 ("b", 2): [0.7838205, 0.5902413, 0.5942506, 0.2252886]}
        for (revision, calls), draws in known.items():
            backend.FOUND.update(revision=revision, calls=calls)
            for slot, draw in enumerate(draws):
                self.assertAlmostEqual(float(backend.own_draw(slot)), draw, delta=6e-8)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
