#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Diagnoses as their readers meet them: in a run, in its report, from a report; shrunk cases
and the C programs made of them.

Usage: test_diagnose.py BINDIR SOURCEDIR COMPILER [unittest arguments]
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import jsonschema

BIN, SOURCE, COMPILER = sys.argv[1:4]
PROGRAM = os.path.join(BIN, "gdn-conform")


def run(*arguments):
    """(exit code, stdout, stderr)"""
    result = subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, timeout=900)
    return result.returncode, result.stdout, result.stderr


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="gdn-diagnose-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def fail_suite(self, device, *arguments):
        """A red run: (its report, what it printed)"""
        code, out, err = run("run", "--device", device, "--suite", "smoke", "--report",
                             self.path("report.json"), *arguments)
        self.assertEqual(code, 1, out + err)
        with open(self.path("report.json"), encoding="utf-8") as file:
            report = json.load(file)
        with open(os.path.join(SOURCE, "reports/report.schema.json"), encoding="utf-8") as file:
            jsonschema.validate(report, json.load(file))
        return report, out

    def diagnose(self, *arguments):
        code, out, err = run("diagnose", self.path("report.json"), *arguments)
        self.assertEqual(code, 0, out + err)
        return out


class Reports(Case):
    def test_a_run_names_the_bug_of_every_failing_case(self):
        report, out = self.fail_suite("sim:deviation=decay_after_read")
        failing = [case for case in report["cases"] if case["verdict"] == "fail"]
        for case in failing:
            self.assertEqual(case["diagnosis"]["verdict"], "diagnosed")
            self.assertEqual(case["diagnosis"]["deviation"], "decay_after_read")
        for case in report["cases"]:
            self.assertEqual("diagnosis" in case, case["verdict"] == "fail")
        self.assertIn(f"diagnosis: {len(failing)} of {len(failing)} failing cases: "
                      "diagnosed decay_after_read\n", out)

    def test_diagnosis_can_be_left_out(self):
        report, out = self.fail_suite("sim:deviation=decay_after_read", "--no-diagnosis")
        self.assertNotIn("diagnos", out)
        self.assertFalse(any("diagnosis" in case for case in report["cases"]))

    def test_bug_outside_the_outputs(self):
        report, _ = self.fail_suite("sim:deviation=stray_guard")
        names = {case["diagnosis"]["deviation"] for case in report["cases"]}
        self.assertEqual(names, {"stray_guard"})

    def test_ranking_from_a_report(self):
        self.fail_suite("sim:deviation=heads_tiled")
        out = self.diagnose("--case", "*/fp32+fp32/*", "--top", "3")
        first = [line for line in out.splitlines() if line.startswith("  heads_tiled")]
        self.assertTrue(first and all("explains it" in line for line in first), out)
        self.assertIn("  the correct kernel", out)
        self.assertIn("does not fail now: pass", self.diagnose("--device", "cpu"))

    def test_deviations_from_a_file_are_suspected(self):
        with open(self.path("more.json"), "w", encoding="utf-8") as file:
            json.dump([{"name": "my_name", "symptom": "mine", "field": "decay_order",
                        "value": "after_update"}], file)
        self.fail_suite("sim:deviation=decay_after_update")
        out = self.diagnose("--deviations", self.path("more.json"))
        self.assertIn("consistent with decay_after_update, my_name", out)

    def test_bad_input(self):
        self.assertEqual(run("diagnose")[0], 2)
        self.assertEqual(run("diagnose", self.path("none.json"))[0], 2)
        with open(self.path("report.json"), "w", encoding="utf-8") as file:
            file.write("{}")
        code, _, err = run("diagnose", self.path("report.json"))
        self.assertEqual(code, 2)
        self.assertIn("$.device.name", err)
        self.fail_suite("sim:deviation=heads_tiled")
        for arguments, text in ((("--case", "no/such"), '"no/such"'),
                                (("--top", "0"), '"0"'),
                                (("--deviations", self.path("none.json")), "none.json"),
                                (("--shrink", self.path("no/such")), "no/such")):
            code, _, err = run("diagnose", self.path("report.json"), *arguments)
            self.assertEqual(code, 2, arguments)
            self.assertIn(text, err)


class Shrunk(Case):
    def compile(self, *flags):
        subprocess.run([COMPILER, "-std=c17", *flags, self.path("out/main.c"), "-lm", "-o",
                        self.path("main")], check=True)
        result = subprocess.run([self.path("main")], stdout=subprocess.PIPE, text=True,
                                timeout=60)
        return result.returncode, result.stdout

    def shrink(self, device, glob):
        self.fail_suite(device, "--case", glob)
        out = self.diagnose("--shrink", self.path("out"))
        self.assertLess(os.path.getsize(self.path("out/shrunk.h5")), 64 * 1024)
        return out

    def replay(self, device):
        return run("run", "--device", device, "--suite", self.path("out/shrunk.json"),
                   "--vectors", self.path("out"))[0]

    # op, a bug of it, and one to plant in the plain kernel of the C program
    OPS = (
        ("gdn_attention", "state_transposed", "read += S[j][i] *", "read -= S[j][i] *"),
        ("gdn_attention", "accepted_ignored", "accepted > 0 ? accepted - 1 : 0", "0"),
        ("gdn_attention", "z_from_v", "z_column(hv) + i % V", "v_column(hv) + i % V"),
        ("gated_delta_rule", "q_unscaled", "normalise(q1, length, 1.0F / sqrtf((float)K))",
         "normalise(q1, length, 1.0F)"),
        ("causal_conv1d", "taps_reversed", "tap_of(c, w) *", "tap_of(c, W - 1 - w) *"),
        ("gdn_gating", "dt_bias_missing", "a + dt_bias", "a"),
    )

    def test_shrunk_cases_of_every_op(self):
        for op, deviation, right, wrong in self.OPS:
            with self.subTest(op=op, deviation=deviation):
                out = self.shrink(f"sim:deviation={deviation}", f"{op}/*")
                self.assertEqual(out.count(f"diagnosed {deviation}"), 2, out)
                self.assertEqual(self.replay(f"sim:deviation={deviation}"), 1)
                self.assertEqual(self.replay("cpu"), 0)
                self.assertEqual(self.compile("-Wall", "-Wno-unused-function", "-Werror"),
                                 (0, "PASS\n"))
                with open(self.path("out/main.c"), encoding="utf-8") as file:
                    text = file.read()
                self.assertIn(right, text)
                with open(self.path("out/main.c"), "w", encoding="utf-8") as file:
                    file.write(text.replace(right, wrong))
                code, out = self.compile()
                self.assertEqual(code, 1, out)
                self.assertTrue(out.endswith("FAIL\n"), out)
                shutil.rmtree(self.path("out"))

    def test_kernel_from_another_file(self):
        self.shrink("sim:deviation=q_unscaled", "gated_delta_rule/*")
        with open(self.path("mine.c"), "w", encoding="utf-8") as file:
            file.write("static void kernel(void) {}\n")
        code, out = self.compile(f'-DGDN_KERNEL="{self.path("mine.c")}"')
        self.assertEqual(code, 1)
        self.assertRegex(out, "out: element 0 is -?nan")

    def test_two_bugs_at_once_on_the_shrunk_case(self):
        out = self.shrink("sim:deviation=state_transposed+heads_tiled",
                          "gdn_attention/*hk2-hv4-k4-v12-w4/*")
        self.assertIn("diagnosed state_transposed + heads_tiled", out)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
