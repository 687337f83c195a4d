# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""The opencl device on PoCL: bugs planted in its kernels are caught.

    test_opencl.py BIN KERNELS_FOLDER
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

BIN, KERNELS = sys.argv[1:3]


class OpenCl(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def run_on(self, device, case, suite="smoke"):
        path = os.path.join(self.folder, "report.json")
        done = subprocess.run(
            [f"{BIN}/gdn-conform", "run", "--device", device, "--suite", suite, "--case", case,
             "--report", path], capture_output=True, text=True)
        self.said = done.stdout + done.stderr
        self.report = None
        if os.path.exists(path):
            with open(path) as file:
                self.report = json.load(file)
        return done.returncode

    def run_patched(self, file, old, new, case, suite="smoke"):
        copy = os.path.join(self.folder, "kernels")
        shutil.copytree(KERNELS, copy, dirs_exist_ok=True)
        with open(os.path.join(KERNELS, file)) as source:
            text = source.read()
        self.assertEqual(text.count(old), 1, f"{file}: one place to edit")
        with open(os.path.join(copy, file), "w") as out:
            out.write(text.replace(old, new))
        return self.run_on(f"opencl:source={copy}", case, suite)

    def assert_caught(self, *patch):
        self.assertEqual(self.run_patched(*patch), 1, self.said)
        self.assertGreater(self.report["verdicts"]["fail"], 0)

    def test_sources_of_a_folder_are_taken(self):
        self.assertEqual(self.run_patched("common.cl", "GK_BOOL = 6", "GK_BOOL = 7 - 1",
                                          "gdn_gating/vllm-xpu*"), 0, self.said)
        self.assertIn("kernels from a folder", self.report["device"]["build"])

    def test_wrong_layout(self):
        self.assert_caught("common.cl", "(ratio + head % ratio) * l->v_dim",
                           "(head % ratio) * l->v_dim", "gdn_attention/vllm-xpu@b/*dec3/*int*")

    def test_state_by_the_other_axis(self):
        self.assert_caught(
            "gated_delta_rule.cl", "row.stride = pool->stride[3];",
            "row.stride = pool->stride[2];\n"
            "    row.at += v_row * (pool->stride[3] - pool->stride[2]);",
            "gated_delta_rule/vllm-xpu*/dec*/*")

    def test_stray_write(self):
        self.assert_caught("gates.cl", "i < count;", "i <= count;",
                           "gdn_attention/vllm-xpu@b/*dec3/*")

    def test_write_to_a_foreign_slot(self):
        self.assert_caught("causal_conv1d.cl", "slot * lines->stride[0] + row",
                           "(slot ^ 1) * lines->stride[0] + row", "causal_conv1d/vllm-xpu*")

    def test_draft_that_stands_against_its_coin(self):
        self.assert_caught("rejection_sample.cl", "bar = u * (double)q", "bar = u * u * (double)q",
                           "rejection_sample/*", "rejection")

    def test_coin_as_fp32(self):
        self.assert_caught("rejection_sample.cl", "const double u = coins[",
                           "const double u = ((const __global float *)coins)[",
                           "rejection_sample/*", "rejection")

    def test_compilers_error_is_told(self):
        self.assertNotEqual(self.run_patched("gates.cl", "float softplus = x;",
                                             "float softplus = y;", "gdn_gating/vllm-xpu*"), 0)
        self.assertRegex(self.said, r"clBuildProgram: .*error: .*undeclared identifier 'y'")

    def test_library_that_is_not_there(self):
        self.assertEqual(self.run_on("opencl:driver=/nowhere.so", "*"), 4)
        self.assertIn("/nowhere.so", self.said)

    def test_options_are_told(self):
        self.assertEqual(self.run_on("opencl:graph=1", "*"), 2)
        self.assertIn("repeat=0..10000, source=DIR or driver=PATH", self.said)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
