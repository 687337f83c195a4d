#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The judge broken on purpose: every such build must answer exit 3, never green.

Usage: test_blind_judge.py SOURCEDIR BUILDDIR COMPILER [unittest arguments]
One source file is replaced; everything else is linked from the libraries of BUILDDIR.
"""
import glob
import os
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD, COMPILER = sys.argv[1:4]

# name: file, text that stands there once, what stands there instead
BREAKS = {
    "limits are ignored": (
        "harness/judge.c", "const bool ok = (error <= limit);", "const bool ok = true;"),
    "NaN is a wildcard": (
        "harness/judge.c", "const bool ok = isnan(golden) && isnan(found);",
        "const bool ok = true;"),
    "an infinity is near every number": (
        "harness/judge.c",
        "const bool ok = isinf(gdn_round_to(reach, storage)) && (reach > 0) == (found > 0);",
        "const bool ok = true;"),
    "the noise floor of an element is forgotten": (
        "harness/judge.c", "if (floor < bound) {", "if (false) {"),
    "the noise floor of an element is a hundred times too large": (
        "harness/floor_limit.c", "const double error = limit->largest + OPERAND",
        "const double error = 100.0 * limit->largest + OPERAND"),
    "an element that differs is not counted": (
        "harness/floor_limit.c", "sums->differ += found != rounded;", ""),
    "a head may be a hundred limits off": (
        "harness/judge.c", "const bool ok = (found <= limit);",
        "const bool ok = !(found > 100.0 * limit);"),
    "copies are not compared": (
        "harness/judge.c", "        p->failed++;\n        add_upstream(c->upstream, p, g, f);",
        ""),
    "a head's root mean square is not held": (
        "harness/judge.c", "r->ok = r->ok && ok;", "r->ok = r->ok && (ok || kind == 3);"),
    "wrong roundings are not counted": (
        "harness/judge.c", "r->ok = r->ok && ok;", "r->ok = r->ok && (ok || kind == 4);"),
    "whole heads are forgotten": (
        "harness/judge.c", "    judge_pools(&whole, result);\n", ""),
    "the floor's factor is lost": (
        "harness/floor_limit.c", "return limit->factor * sqrt(", "return 1e3 * sqrt("),
    "one block of a head is enough": (
        "harness/judge.c", "gdn_pool_merge(&whole.sums[head], &whole.sums[block * whole.heads"
        " + head]);", ";"),
    "stray bytes do not count": (
        "harness/judge.c", "ok = ok && result->stray_bytes == 0;", ""),
    "nothing ever passes": (
        "harness/judge.c", "result->verdict = ok ? GDN_PASS : GDN_FAIL;",
        "result->verdict = GDN_FAIL;"),
    "cases may be swallowed": (
        "reports/result.c", "run->n_cases != run->planned", "false"),
    "failures do not reach the exit code": (
        "reports/result.c", "if (tally[GDN_FAIL] + ", "if (0 * tally[GDN_FAIL] + "),
}


LIBRARIES = ["harness/libgdn_harness.a", "reports/libgdn_reports.a", "suites/libgdn_suites.a",
             "vectors/libgdn_vectors.a", "reference/libgdn_emulated.a", "reference/libgdn_reference.a",
             "reference/libgdn_profile.a", "reference/libgdn_base.a"]


def build(folder, path, text):
    """The program with `path` replaced, beside the worker and the devices that it looks for."""
    patched = os.path.join(folder, os.path.basename(path))
    with open(patched, "w", encoding="utf-8") as file:
        file.write(text)
    for name in os.listdir(os.path.join(BUILD, "bin")):
        if name != "gdn-conform":
            os.symlink(os.path.join(BUILD, "bin", name), os.path.join(folder, name))
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "jansson", "mpfr", "hdf5",
                            "libcrypto", "libcurl", "libxml-2.0"], check=True, stdout=subprocess.PIPE, text=True)
    includes = ["reference/include", "vectors", "suites", "reports", "harness"]
    program = os.path.join(folder, "gdn-conform")
    subprocess.run(
        [COMPILER, "-std=c17", "-D_GNU_SOURCE", '-DGDN_VERSION="broken"', "-O1", "-w",
         "-fopenmp", *("-I" + os.path.join(SOURCE, i) for i in includes), patched,
         *glob.glob(os.path.join(SOURCE, "harness/cli/*.c")),
         *(os.path.join(BUILD, library) for library in LIBRARIES),
         *flags.stdout.split(), "-lm", "-o", program], check=True)
    return program


class BlindJudge(unittest.TestCase):
    def test_every_broken_judge_is_found_out(self):
        for name, (path, old, new) in BREAKS.items():
            with self.subTest(broken=name), tempfile.TemporaryDirectory() as folder:
                with open(os.path.join(SOURCE, path), encoding="utf-8") as file:
                    text = file.read()
                self.assertEqual(text.count(old), 1, f"{path} has changed: mend the patch")
                program = build(folder, path, text.replace(old, new))
                result = subprocess.run([program, "run", "--suite", "smoke"], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                self.assertEqual(result.returncode, 3, result.stdout + result.stderr)
                self.assertIn("trip-wire", result.stderr)

    def test_whole_judge_is_not_blamed(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(SOURCE, "harness/judge.c"), encoding="utf-8") as file:
                program = build(folder, "harness/judge.c", file.read())
            result = subprocess.run([program, "run", "--suite", "smoke"])
            self.assertEqual(result.returncode, 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
