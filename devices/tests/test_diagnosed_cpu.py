#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Known bugs planted in the source of the cpu device, which computes in fp32 and shares no
arithmetic with the reference: diagnoses must name them through its rounding.

Usage: test_diagnosed_cpu.py BINDIR SOURCEDIR COMPILER [unittest arguments]
"""
import json
import os
import re
import subprocess
import sys
import unittest

import test_patched_cpu as patched

# deviation: file, text that stands there once, what stands there instead, and the least share
# of the diagnosed cases that must get the name. Others must get no name at all.
KNOWN = {
    "accepted_ignored": (
        "cpu_sequences.c", "const int64_t column = accepted > 0 ? accepted - 1 : 0;",
        "const int64_t column = accepted > 99 ? accepted - 1 : 0;", 1.0),
    "q_unscaled": (
        "cpu_delta.c", "const double query_scale = 1.0 / sqrt((double)n);",
        "const double query_scale = 1.0;", 1.0),
    "l2norm_mean": (
        "cpu_delta.c", "return 1.0 / sqrt(total + eps);",
        "return 1.0 / sqrt(total / (double)n + eps);", 0.95),
    "dt_bias_missing": (
        "cpu_gdn_attention.c", "const float bias = load_element(at->dt_bias, head, 0);",
        "const float bias = 0.0F;", 1.0),
    "activation_missing": (
        "cpu_gdn_attention.c", ".silu = conventions->activation == GDN_ACTIVATION_SILU,",
        ".silu = false,", 1.0),
    # The chunk kernel keeps its beta and its gate: two cases of smoke are half right.
    "beta_omitted": (
        "cpu_delta.c", ".beta = d->beta[t],", ".beta = 1.0F,", 0.9),
    "gate_bf16": (
        "cpu_delta.c", ".decay = plan->decays_given ? d->g[t] : expf(d->g[t]),",
        ".decay = plan->decays_given ? d->g[t]\n"
        "                  : (cpu_round(&d->g[t], GDN_BF16, 1), expf(d->g[t])),", 0.9),
}


class DiagnosedCpu(patched.PatchedCpu):
    test_unpatched_source_passes = None
    test_every_planted_bug_fails = None
    test_every_exact_bug_is_seen = None

    def diagnoses(self, patch):
        """(verdict, names, text) of each failing case that was searched"""
        self.build(patch)
        report = os.path.join(self.folder, "report.json")
        subprocess.run([os.path.join(patched.BIN, "gdn-conform"), "run", "--device", "cpu",
                        "--suite", "smoke", "--report", report], stdout=subprocess.DEVNULL,
                       timeout=600, env={**os.environ, "GDN_DEVICE_PATH": self.folder})
        with open(report, encoding="utf-8") as file:
            cases = json.load(file)["cases"]
        return [tuple(case["diagnosis"][member] for member in ("verdict", "deviation", "text"))
                for case in cases if "diagnosis" in case]

    def test_known_bugs_are_named(self):
        for name, (file, old, new, share) in KNOWN.items():
            with self.subTest(bug=name):
                found = self.diagnoses((file, old, new))
                right = [d for d in found if d[1] and d[1].split(", ")[0] == name]
                wrong = [d for d in found if d[0] == "diagnosed" and d[1] != name]
                print(f"{name}: named first in {len(right)} of {len(found)} cases")
                self.assertEqual(wrong, [])
                self.assertTrue(found)
                self.assertGreaterEqual(len(right), share * len(found), found)

    def test_dropped_updates_are_a_residual_of_low_rank(self):
        found = self.diagnoses(
            patched.PATCHES["chunk: the last token's update dropped from the state"])
        self.assertTrue(found)
        self.assertEqual({verdict for verdict, _, _ in found}, {"pattern"})
        # Where few elements are beyond their limits the rank is not seen.
        low = [text for _, _, text in found if re.search("residual of rank [12] ", text)]
        self.assertGreater(2 * len(low), len(found), found)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
