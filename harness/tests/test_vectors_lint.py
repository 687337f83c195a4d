#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vectors lint and vectors index: what keeps a folder of golden files from being published.

Usage: test_vectors_lint.py BINDIR SOURCEDIR [unittest arguments]
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import jsonschema

BIN, SOURCE = sys.argv[1:3]
PROGRAM = os.path.join(BIN, "gdn-conform")
GOLDEN = os.path.join(SOURCE, "vectors/golden")


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def validator(name):
    folder = os.path.join(SOURCE, "vectors")
    schema = load(os.path.join(folder, name))
    jsonschema.Draft202012Validator.check_schema(schema)
    store = {"tombstones.schema.json": load(os.path.join(folder, "tombstones.schema.json"))}
    return jsonschema.Draft202012Validator(
        schema, resolver=jsonschema.RefResolver("", schema, store=store))


class Lint(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="gdn-lint-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.now = os.path.join(self.folder, "now")
        shutil.copytree(GOLDEN, self.now)
        self.manifest = os.path.join(self.now, "smoke.manifest.json")
        self.ids = sorted(load(self.manifest)["cases"])

    def write(self, name, value):
        with open(os.path.join(self.now, name), "w", encoding="utf-8") as file:
            json.dump(value, file)

    def expect(self, code, *arguments, words=()):
        result = subprocess.run([PROGRAM, "vectors", *arguments], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, timeout=300)
        self.assertEqual(result.returncode, code, result.stdout)
        for word in [words] if isinstance(words, str) else words:
            self.assertIn(word, result.stdout)
        return result.stdout

    def test_the_committed_files_are_clean(self):
        self.expect(0, "lint", GOLDEN, words="0 findings")
        validator("manifest.schema.json").validate(load(self.manifest))

    def test_manifest_edited_by_hand(self):
        manifest = load(self.manifest)
        self.write("smoke.manifest.json", manifest)
        self.expect(1, "lint", self.now, words="not as generate writes it")
        case = manifest["cases"][self.ids[0]]
        case["case"]["seed"] = 4711
        self.write("smoke.manifest.json", manifest)
        self.expect(1, "lint", self.now, words=[self.ids[0], "smoke.h5"])

    def test_damaged_file(self):
        with open(os.path.join(self.now, "smoke.h5"), "r+b") as file:
            file.seek(900000)
            file.write(b"damage" * 300)
        self.expect(1, "lint", self.now, words="smoke.h5")

    def test_ids_that_go_need_a_tombstone_and_never_return(self):
        old = os.path.join(self.folder, "old")
        shutil.copytree(GOLDEN, old)
        manifest = load(os.path.join(old, "smoke.manifest.json"))
        twin = next(case for case in self.ids if case.endswith("-n0"))
        gone = twin.replace("-n0", "-n99")
        manifest["cases"][gone] = manifest["cases"][twin]
        with open(os.path.join(old, "smoke.manifest.json"), "w", encoding="utf-8") as file:
            json.dump(manifest, file)
        self.expect(1, "lint", self.now, old, words=[gone, "no tombstone"])
        stones = {"schema": 1, "tombstones": {gone: {"since": "0.2.0", "reason": "a twin"}}}
        self.write("tombstones.json", stones)
        validator("tombstones.schema.json").validate(stones)
        self.expect(0, "lint", self.now, old)
        stones["tombstones"][self.ids[0]] = {"since": "0.2.0", "reason": "was wrong"}
        self.write("tombstones.json", stones)
        self.expect(1, "lint", self.now, words=[self.ids[0], "was wrong", "not used again"])
        shutil.copy(os.path.join(self.now, "tombstones.json"), old)
        os.remove(os.path.join(self.now, "tombstones.json"))
        self.expect(1, "lint", self.now, old, words="a tombstone was removed")
        self.write("tombstones.json", {"schema": 1, "tombstones": {gone: {"since": "0.2"}}})
        self.expect(1, "lint", self.now, words=["tombstones.json", "reason"])

    def test_an_id_that_is_another_case_now(self):
        old = os.path.join(self.folder, "old")
        shutil.copytree(GOLDEN, old)
        manifest = load(os.path.join(old, "smoke.manifest.json"))
        manifest["cases"][self.ids[5]]["case"]["batch"] = "dec77"
        with open(os.path.join(old, "smoke.manifest.json"), "w", encoding="utf-8") as file:
            json.dump(manifest, file)
        self.expect(1, "lint", self.now, old, words=[self.ids[5], "batch"])

    def test_index(self):
        self.expect(0, "index", self.now)
        index = load(os.path.join(self.now, "index.json"))
        validator("index.schema.json").validate(index)
        suite = index["suites"]["smoke"]
        self.assertEqual(suite["cases"], len(self.ids))
        self.assertEqual({f["name"] for f in suite["files"]},
                         {"smoke.h5", "smoke.manifest.json"})
        digests = {c["profile_digest"] for c in load(self.manifest)["cases"].values()}
        self.assertEqual({d for ds in suite["profiles"].values() for d in ds}, digests)
        self.expect(0, "lint", self.now)
        index["suites"]["smoke"]["files"][0]["sha256"] = "0" * 64
        self.write("index.json", index)
        self.expect(1, "lint", self.now, words=["index.json", "sha256"])
        index["suites"]["smoke"]["files"][0]["path"] = "../smoke.h5"
        self.write("index.json", index)
        self.expect(1, "lint", self.now, words='"../smoke.h5"')

    def test_usage(self):
        self.expect(2, "lint", self.folder, words="no <suite>")
        self.expect(2, "lint", self.folder + "/none")
        self.expect(2, "lnit", self.folder, words='did you mean "lint"')


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
