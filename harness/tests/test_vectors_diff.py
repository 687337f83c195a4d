#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`gdn-conform vectors diff`: exit codes, text and JSON over files that the program wrote.

What the numbers are worth is tested in vectors/tests/test_vector_diff.c.

Usage: test_vectors_diff.py BINDIR SOURCEDIR FAKE_WORKER [unittest arguments]
"""
import json
import os
import shutil
import sys
import unittest

sys.dont_write_bytecode = True  # the source tree stays as it was
from test_cli import SOURCE, Case, run

GOLDEN = os.path.join(SOURCE, "vectors/golden")


class VectorsDiff(Case):
    def data(self, change=None):
        """A data folder of our own; `change` edits the conventions of its profile."""
        data = self.path("data")
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(os.path.join(SOURCE, "suites"), os.path.join(data, "suites"))
        if change:
            path = os.path.join(data, "suites/profiles/vllm-xpu.json")
            with open(path, encoding="utf-8") as file:
                profile = json.load(file)
            profile["conventions"].update(change)
            with open(path, "w", encoding="utf-8") as file:
                json.dump(profile, file)
        return data

    def generate(self, folder, cases, change=None):
        """Golden file of a suite "tiny.1" of these batches."""
        data = self.data(change)
        suite = {"schema": 1, "suite": "tiny.1", "summary": "a few cases", "groups": [
            {"summary": "they", "cases": [
                {"op": "gated_delta_rule", "profile": "vllm-xpu", "batch": batch,
                 "num_k_heads": 1, "num_v_heads": 2, "head_k_dim": 8, "head_v_dim": 6}
                for batch in cases]}]}
        with open(os.path.join(data, "suites/suites/tiny.1.json"), "w",
                  encoding="utf-8") as file:
            json.dump(suite, file)
        self.expect(0, "generate", "--suite", "tiny.1", "-o", self.path(folder),
                    env={"GDN_DATA_DIR": data})
        return self.path(folder)

    def diff(self, code, old, new):
        """The JSON, once the text agrees on the exit code."""
        self.expect(code, "vectors", "diff", old, new)
        stdout, _ = self.expect(code, "vectors", "diff", "--json", old, new)
        result = json.loads(stdout)
        self.assertEqual(result["equal"], code == 0)
        self.assertEqual((result["old"], result["new"]), (old, new))
        return result

    def test_a_file_equals_itself(self):
        result = self.diff(0, GOLDEN, GOLDEN)
        smoke = next(s for s in result["suites"] if s["suite"] == "smoke")
        self.assertGreater(smoke["in_both"], 40)
        self.assertEqual(smoke["equal"], smoke["in_both"])
        path = os.path.join(GOLDEN, "smoke.h5")
        self.expect(0, "vectors", "diff", path, path, out="0 gone, 0 added")

    def test_gone_and_added_cases(self):
        old = self.generate("old", ["dec1", "dec2"])
        new = self.generate("new", ["dec2", "dec3"])
        result = self.diff(1, old, new)["suites"]
        self.assertEqual([s["suite"] for s in result], ["tiny.1"])
        self.assertEqual([(c["change"], "-dec1/" in c["id"]) for c in result[0]["cases"]],
                         [("gone", True), ("added", False)])
        out, _ = self.expect(1, "vectors", "diff", old + "/tiny.1.h5", new + "/tiny.1.h5")
        self.assertRegex(out, r"(?m)^gone +gated_delta_rule/.*-dec1/")
        self.assertIn("1 gone, 1 added", out)

    def test_a_suite_that_one_folder_lacks(self):
        old = self.generate("old", ["dec1"])
        new = self.path("both")
        shutil.copytree(old, new)
        for name in ("smoke.h5", "smoke.manifest.json"):
            shutil.copy(os.path.join(GOLDEN, name), new)
        suites = self.diff(1, old, new)["suites"]
        self.assertEqual([s["suite"] for s in suites], ["tiny.1", "smoke"])
        self.assertEqual({c["change"] for c in suites[1]["cases"]}, {"added"})
        suites = self.diff(1, new, old)["suites"]
        self.assertEqual({c["change"] for s in suites for c in s["cases"]}, {"gone"})

    def test_another_eps_changes_values_and_another_grant_changes_limits(self):
        old = self.generate("old", ["pre1x9"])
        new = self.generate("eps", ["pre1x9"], {"l2norm_eps": 2e-6})
        case = self.diff(1, old, new)["suites"][0]["cases"][0]
        self.assertEqual((case["change"], case["note"]), ("golden", "the profile has changed"))
        tensors = {t["name"]: t for t in case["tensors"]}
        self.assertEqual(set(tensors), {"out", "ssm_state"})
        out = tensors["out"]
        self.assertEqual(out["elements"], 9 * 2 * 6)
        self.assertGreater(out["changed"], 100)
        self.assertGreater(out["ulps"], 1e3)
        self.assertGreater(out["limits"], 0)
        self.assertLess(out["limits"], 10)
        self.assertEqual(len(out["worst_at"]), 3)
        self.assertNotEqual(out["before"], out["after"])
        text, _ = self.expect(1, "vectors", "diff", old, new)
        self.assertRegex(text, r"out: \d+ of 108 changed, by up to [0-9.e+]+ ulps and "
                               r"[0-9.e-]+ limits, worst \[\d,\d,\d\]: \S+ -> \S+")

        new = self.generate("grant", ["pre1x9"], {"rsqrt_error": 1000})
        out = next(t for t in self.diff(1, old, new)["suites"][0]["cases"][0]["tensors"]
                   if t["name"] == "out")
        self.assertEqual(out["changed"], 0)
        self.assertGreater(out["limits_changed"], 100)
        self.assertGreater(out["limits_factor"], 2)

    def test_suites_with_a_dot_are_listed(self):
        data = self.data()
        shutil.copytree(self.generate("old", ["dec1"]), os.path.join(data, "vectors/golden"))
        self.expect(0, "list", "vectors", out="tiny.1", env={"GDN_DATA_DIR": data})

    def test_bad_input(self):
        old = self.generate("old", ["dec1"])
        path = os.path.join(old, "tiny.1.h5")
        self.expect(2, "vectors", "diff", old, self.path("none"), err=self.path("none"))
        self.expect(2, "vectors", "diff", old, path, err="two files or two folders")
        self.expect(2, "vectors", "diff", path, __file__, err="test_vectors_diff.py")
        os.mkdir(self.path("empty"))
        self.expect(2, "vectors", "diff", self.path("empty"), old, err="manifest.json")
        self.expect(2, "vectors", "dif", old, old, err='"dif" (did you mean "diff"?)')
        for words in ([], ["diff"], ["diff", old], ["diff", old, old, old]):
            code, _, err = run("vectors", *words)
            self.assertEqual(code, 2, err)
        os.truncate(path, os.path.getsize(path) // 2)
        self.expect(2, "vectors", "diff", GOLDEN, old, err="tiny.1.h5")
        os.unlink(path)
        self.expect(2, "vectors", "diff", GOLDEN, old, err="tiny.1.h5")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
