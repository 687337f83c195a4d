#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The numerics probe tells the classes of emulated kernels apart, and holds each against what the
profile claims.

Usage: test_numerics.py BINDIR SOURCEDIR [unittest arguments]
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

BIN, SOURCE = sys.argv[1:3]
CLASSES = ("fp32", "tf32-mma", "fp16-mma", "bf16-mma")
PROFILES = {"vllm-xpu": "fp32", "flashinfer": "fp16-mma", "fla": "bf16-mma"}


def probe(device, profile):
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "r.json")
        result = subprocess.run(
            [os.path.join(BIN, "gdn-conform"), "run", "--device", device, "--suite", "smoke",
             "--case", f"gated_delta_rule/{profile}[/@]*", "--numerics", "--no-diagnosis", "--report",
             report], capture_output=True, text=True, check=False)
        with open(report, encoding="utf-8") as file:
            run = json.load(file)
    return {f["quantity"]: f for f in run["numerics"]}, result.returncode, run


class Probe(unittest.TestCase):
    def test_classes_are_told_apart(self):
        texts = set()
        for name in CLASSES:
            found, _, _ = probe(f"sim:class={name}", "vllm-xpu")
            text = found["operand_chunk"]["text"]
            self.assertIn(f"as {name};", text)
            texts.add(text)
            self.assertTrue(found["operand_decode"]["ok"])  # decodes are fp32 in all of them
        self.assertEqual(len(texts), len(CLASSES))

    def test_each_class_is_right_under_its_profile_only(self):
        for profile, claimed in PROFILES.items():
            for name in CLASSES:
                found, code, run = probe(f"sim:class={name}", profile)
                chunk = found["operand_chunk"]
                self.assertEqual(chunk["ok"], name == claimed, (profile, name, chunk))
                if name != claimed:
                    self.assertEqual(code, 1)
                    self.assertIn("finer than this" if CLASSES.index(name) > CLASSES.index(claimed)
                                  else "wider than this", chunk["text"])
                else:
                    self.assertEqual((code, run["exit"]["code"]), (0, 0), found)

    def test_functions_and_stores_are_measured(self):
        found, code, _ = probe("cpu", "vllm-xpu")
        self.assertEqual(code, 0, found)
        self.assertEqual(sorted(found), sorted(
            ["operand_chunk", "operand_decode", "accumulation", "cast", "denormals", "rsqrt",
             "exp", "softplus", "sigmoid"]))
        for name, finding in found.items():
            self.assertTrue(finding["measured"] and finding["ok"], finding)
        for name in ("rsqrt", "exp", "softplus", "sigmoid"):
            self.assertLess(0, found[name]["found"])
            self.assertLess(found[name]["found"], 4)
        self.assertIn("nearest", found["cast"]["text"])
        self.assertIn("kept", found["denormals"]["text"])

    def test_what_is_not_measured_says_so(self):
        found, _, _ = probe("sim:fault=error,fault-op=gdn_gating", "vllm-xpu")
        self.assertFalse(found["exp, softplus, sigmoid"]["measured"])
        self.assertIn("fault=error", found["exp, softplus, sigmoid"]["text"])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:])
