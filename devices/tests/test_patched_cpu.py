#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bugs planted in the source of the cpu device: the harness must fail every one of them, and
pass the same source unpatched.

Usage: test_patched_cpu.py BINDIR SOURCEDIR COMPILER [unittest arguments]
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BIN, SOURCE, COMPILER = sys.argv[1:4]

# name: file, text that stands there once, what stands there instead
PATCHES = {
    "layout: the gates of a group read in pairs": (
        "cpu_gdn_attention.c", ".b = of * 2 * r + j,", ".b = of * 2 * r + 2 * j,"),
    "accepted count ignored": (
        "cpu_sequences.c", "const int64_t column = accepted > 0 ? accepted - 1 : 0;",
        "const int64_t column = accepted > 99 ? accepted - 1 : 0;"),
    "start state read although the flag says no": (
        "cpu_sequences.c", "!group->initial || gdn_tensor_int(group->initial, index, 0) != 0;",
        "true;"),
    "conv taps in the wrong order": (
        "cpu_conv.c", "y[c] += weight[i * n + c] * x[i * n + c];",
        "y[c] += weight[i * n + c] * x[(conv->taps - i) * n + c];"),
    "conv rows beyond the window overwritten with NaN": (
        "cpu_line.c", "        for (int64_t i = 0; i < kept; i++) {\n            keep_row(",
        "        for (int64_t i = first + kept; i < cpu_line_rows(k->op); i++) {\n"
        "            const cpu_cells at = cpu_line_cells(k->op, state, slot, i,\n"
        "                                                k->channels.channel);\n"
        "            for (int64_t c = 0; c < k->channels.count; c++) {\n"
        "                memset((uint8_t *)state->data + gdn_dtype_size(state->dtype) *\n"
        "                       (size_t)(at.at + c * at.stride), 0xff,\n"
        "                       gdn_dtype_size(state->dtype));\n"
        "            }\n"
        "        }\n"
        "        for (int64_t i = 0; i < kept; i++) {\n            keep_row("),
    "eps a thousand times too large": (
        "cpu_delta.c", "return 1.0 / sqrt(total + eps);",
        "return 1.0 / sqrt(total + 1000 * eps);"),
    "carried state rounded after every token": (
        "cpu_delta.c", "if (carry_of(plan) == GDN_CARRY_TOKEN) {\n            round_state",
        "if (true) {\n            round_state"),
    "chunk: decay from the chunk's start forgotten": (
        "cpu_chunk.c", "start[i] = decay_of(total);", "start[i] = 1.0F;"),
    "chunk: the last token's update dropped from the state": (
        "cpu_chunk.c", "d->kernels->multiply(d->k_dim, d->columns, count, d->keys,",
        "d->kernels->multiply(d->k_dim, d->columns, count - 1, d->keys,"),
}

# Bugs that cases without a tolerance see, and smoke need not: file, text, what stands there
# instead; suite, cases, and what the verdict says.
EXACT = {
    "a group's value heads all get the first one's values": (
        ("cpu_gdn_attention.c", ".v = of * group + 2 * k + j * v,", ".v = of * group + 2 * k,"),
        "lattice", "gdn_attention/*pre1x*/int-*", "found v of token"),
    "another head is read and multiplied by zero": (
        ("cpu_gated_delta_rule.c", "load_row(delta->v + t * delta->ld, rule->v, row, head);",
         "load_row(delta->v + t * delta->ld, rule->v, row, head);\n"
         "            for (int64_t i = 0; head > 0 && i < delta->v_dim; i++) {\n"
         "                delta->v[t * delta->ld + i] += 0.0F * cpu_load_one(rule->v->data,\n"
         "                    rule->v->dtype, row * rule->v->stride[0] +\n"
         "                    (head - 1) * rule->v->stride[1] + i);\n"
         "            }"),
        "dye", "gated_delta_rule/*dye-value-*", "beyond the limit"),
    "a token of the future is read and multiplied by zero": (
        ("cpu_gated_delta_rule.c",
         "load_row(delta->k + t * delta->k_dim, rule->k, row, key_head);",
         "load_row(delta->k + t * delta->k_dim, rule->k, row, key_head);\n"
         "            for (int64_t i = 0; row + 129 < rule->k->shape[0] && i < delta->k_dim;\n"
         "                 i++) {\n"
         "                delta->k[t * delta->k_dim + i] += 0.0F * cpu_load_one(\n"
         "                    rule->k->data, rule->k->dtype, (row + 129) * rule->k->stride[0] +\n"
         "                    key_head * rule->k->stride[1] + i);\n"
         "            }"),
        "dye", "gated_delta_rule/*dye-key-*", "beyond the limit"),
    "offsets of slots in 32 bits": (
        ("cpu_delta.c", "return slot * pool->tensor->stride[0] +",
         "return (int32_t)(slot * pool->tensor->stride[0]) +"),
        "offsets", "gated_delta_rule/*dec8*", ""),
    "offsets of tokens in 32 bits": (
        ("cpu_gated_delta_rule.c", "             row * tensor->stride[0] + head * tensor->stride[1], tensor->stride[2],",
         "             (int32_t)(row * tensor->stride[0]) + head * tensor->stride[1], tensor->stride[2],"),
        "offsets", "gated_delta_rule/*pre1x130*", ""),
    "indices are taken as they come": (
        ("cpu_sequences.c", "if (value >= low && value <= high) {", "if (true) {"),
        "refusals", "*/spec-*refuse-accepted*", "worker died"),
}


class PatchedCpu(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="gdn-patched-")
        self.addCleanup(shutil.rmtree, self.folder)

    def build(self, patch):
        for source in glob.glob(os.path.join(SOURCE, "devices/cpu/*.[ch]")):
            shutil.copy(source, self.folder)
        if patch:
            name, old, new = patch
            path = os.path.join(self.folder, name)
            with open(path, encoding="utf-8") as file:
                text = file.read()
            self.assertEqual(text.count(old), 1, f"{name} has changed: mend the patch")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text.replace(old, new))
        with open(os.path.join(SOURCE, "reference/CMakeLists.txt"), encoding="utf-8") as file:
            names = re.search(r"add_library\(gdn_base STATIC (.*?)\)", file.read(), re.S)
        base = [os.path.join(SOURCE, "reference", name) for name in names.group(1).split()]
        subprocess.run(
            [COMPILER, "-std=c17", "-D_GNU_SOURCE", "-DGDN_CPU_VERSION=\"patched\"", "-O2",
             "-fopenmp", "-fPIC", "-shared", "-fvisibility=hidden", "-w",
             "-I" + os.path.join(SOURCE, "reference/include"),
             "-I" + os.path.join(SOURCE, "devices/include"),
             *glob.glob(os.path.join(self.folder, "*.c")), *base, "-lm", "-o",
             os.path.join(self.folder, "gdn-device-cpu.so")], check=True)

    def judge(self, suite="smoke", case="*"):
        result = subprocess.run(
            [os.path.join(BIN, "gdn-conform"), "run", "--device", "cpu", "--suite", suite,
             "--case", case, "--no-diagnosis"],
            stdout=subprocess.PIPE, text=True, timeout=600,
            env={**os.environ, "GDN_DEVICE_PATH": self.folder})
        return result.returncode, result.stdout

    def test_unpatched_source_passes(self):
        self.build(None)
        code, out = self.judge()
        self.assertEqual(code, 0, out)

    def test_every_planted_bug_fails(self):
        for name, patch in PATCHES.items():
            with self.subTest(bug=name):
                self.build(patch)
                code, out = self.judge()
                self.assertEqual(code, 1, f"{name} was not seen\n{out}")
                failed = [line for line in out.splitlines() if line.startswith("fail ")]
                print(f"{name}: {len(failed)} cases fail")
                self.assertTrue(failed)

    def test_every_exact_bug_is_seen(self):
        for name, (patch, suite, case, words) in EXACT.items():
            with self.subTest(bug=name):
                self.build(patch)
                _, out = self.judge(suite, case)
                seen = [line for line in out.splitlines()
                        if re.match("(fail|crash|xfail) ", line)]
                print(f"{name}: {len(seen)} cases of {suite} see it")
                self.assertTrue(seen, out)
                self.assertTrue(any(words in line for line in seen), out)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
