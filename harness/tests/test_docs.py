#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every command line in the documentation does what it says.

Usage: test_docs.py BINDIR SOURCEDIR [unittest arguments]

Blocks marked ```sh, the commands of ```yaml snippets, and the examples of the man page are
executed, each page in a folder of its own, top to bottom; `# exit N` says what a line ends with.
Blocks of .ci/ or of a build (cmake, ctest) are what runs this test, or would take it an hour.
"""
import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

BIN, SOURCE = sys.argv[1:3]
PROGRAM = os.path.join(BIN, "gdn-conform")
MAN = os.path.join(SOURCE, "harness/man/gdn-conform.1")
OTHERS = re.compile(r"^\s*(\.ci/|cmake |ctest |build/|export |cd |git |CC=)", re.M)
ENVIRONMENT = {**os.environ, "PATH": os.path.abspath(BIN) + ":" + os.environ["PATH"],
               "OMP_WAIT_POLICY": "passive", "DEVICE": "cpu", "SUITE": "smoke",
               "BUILDKITE_PARALLEL_JOB": "0"}


def pages():
    found = [os.path.join(SOURCE, "README.md")]
    for folder in ("harness", "reference", "vectors", "suites", "devices", "reports"):
        found += sorted(glob.glob(os.path.join(SOURCE, folder, "*.md")))
    return found


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def blocks(text, language):
    return re.findall(r"^```" + language + r"\n(.*?)^```", text, re.M | re.S)


def split_lines(block):
    """Commands: lines, with their here-documents and continuations."""
    lines, end = [], None
    for line in block.splitlines():
        if end or (lines and lines[-1].endswith("\\")):
            lines[-1] += "\n" + line
            end = None if line == end else end
            continue
        if line.strip() and not line.lstrip().startswith("#"):
            lines.append(line)
            here = re.search(r"<<'?(\w+)'?", line)
            end = here.group(1) if here else None
    return lines


class Docs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="gdn-docs-")
        self.addCleanup(shutil.rmtree, self.folder)

    def execute(self, line, **environment):
        expected = re.search(r"# exit (\d+)\s*$", line)
        result = subprocess.run(["bash", "-c", line], cwd=self.folder, timeout=900, text=True,
                                env={**ENVIRONMENT, **environment}, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, check=False)
        self.assertEqual(result.returncode, int(expected.group(1)) if expected else 0,
                         f"{line}\n{result.stdout[-800:]}\n{result.stderr[-800:]}")

    def test_shell_blocks(self):
        executed = 0
        for page in pages():
            self.setUp()
            for block in blocks(read(page), "sh"):
                if not OTHERS.search(block):
                    for line in split_lines(block):
                        with self.subTest(page=page, line=line):
                            self.execute(line)
                            executed += 1
        self.assertGreater(executed, 20)

    def test_ci_snippets(self):
        known = '{"schema": 1, "known_failures": []}'
        with open(os.path.join(self.folder, "known.json"), "w", encoding="utf-8") as file:
            file.write(known)
        self.execute("gdn-conform run --suite smoke --report base.json")
        executed = 0
        for snippet in blocks(read(os.path.join(SOURCE, "reports/CI.md")), "yaml"):
            lines = re.findall(r"(?:run: |- )(gdn-conform .*)", snippet)
            for line in lines:
                for shard in ("1", "2") if "SHARD" in line else ("1",):
                    self.execute(line, SHARD=shard)
                    executed += 1
        self.assertGreaterEqual(executed, 8)

    def test_man_page_examples(self):
        for line in re.search(r"^\.EX\n(.*?)^\.EE", read(MAN), re.M | re.S).group(1).splitlines():
            self.execute(line)

    def test_man_page_is_well_formed(self):
        result = subprocess.run(["groff", "-man", "-ww", "-Tascii", "-P-cbou", MAN], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("--known-failures", result.stdout)

    def test_man_page_has_every_command_and_option(self):
        page = read(MAN).replace("\\-", "-")
        usage = subprocess.run([PROGRAM, "--help"], stdout=subprocess.PIPE, text=True,
                               check=True).stdout
        for command in re.findall(r"^  (\w+) ", usage, re.M):
            self.assertRegex(page, rf"(?m)^\.BR? .*\b{command}\b", command)
        for command in ("run", "report", "diff", "merge", "ratchet", "list"):
            text = subprocess.run([PROGRAM, command, "--help"], stdout=subprocess.PIPE,
                                  text=True, check=True).stdout
            for option in set(re.findall(r"--([a-z-]+)", text)) - {"help", "usage"}:
                self.assertIn("--" + option, page, command)

    def test_command_lines_in_running_text_exist(self):
        """Their command, and their options."""
        options = {}
        for page in pages():
            for text in re.findall(r"`(gdn-conform [^`\n]*)`", read(page)):
                words = shlex.split(text.replace("[", " ").replace("]", " ").replace("|", " "))
                if len(words) < 2 or not words[1].isalpha() or words[1].isupper():
                    continue
                command = words[1]
                if command not in options:
                    result = subprocess.run([PROGRAM, command, "--help"], text=True,
                                            stdout=subprocess.PIPE, check=False)
                    self.assertEqual(result.returncode, 0, f"{page}: {text}")
                    options[command] = result.stdout
                for word in words[2:]:
                    if word.startswith("--"):
                        self.assertIn(word.split("=")[0], options[command], f"{page}: {text}")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
