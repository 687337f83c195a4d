#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Devices that do something else with a wrong call than to refuse it.

Usage: test_refusals.py BINDIR SOURCEDIR [unittest arguments]
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

BIN, SOURCE = sys.argv[1:3]

# A worker that takes every call, and does with it what its argument says.
WORKER = r'''
import array, json, mmap, os, socket, sys
what = sys.argv[1]
link = socket.socket(fileno=int(os.environ["GDN_WORKER_FD"]))
text, files = b"", []
while True:
    data, control, _, _ = link.recvmsg(1 << 20, socket.CMSG_SPACE(4))
    if not data:
        break
    text += data
    for level, kind, part in control:
        files = array.array("i", part[:4])
    if not text.endswith(b"\n"):
        continue
    request = json.loads(text)
    text = b""
    kind, answer = request["type"], {"id": request["id"]}
    if kind == "bye":
        break
    if kind == "hello":
        answer.update(type="hello", protocol=1, hardware="none", driver="", build="test")
    elif kind == "supports" and what == "decline":
        answer.update(type="supports", supported=False, reason="num_accepted_tokens: too large")
    elif kind == "supports":
        answer.update(type="supports", supported=True)
    elif what == "crash" and request["call"]["op"] == "causal_conv1d":
        os.abort()
    elif what.startswith("status"):
        if what.endswith("written"):
            with mmap.mmap(files[0], request["arena_bytes"]) as arena:
                arena[5000] ^= 1
        answer.update(type="error", status=int(what[6]), message="num_accepted_tokens")
    else:
        answer.update(type="done")
    link.sendall(json.dumps(answer).encode() + b"\n")
'''


class Refusals(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="gdn-refusals-")
        self.addCleanup(shutil.rmtree, self.folder)
        with open(os.path.join(self.folder, "worker.py"), "w", encoding="utf-8") as file:
            file.write(WORKER)

    def run_device(self, what, claims=False, suite="refusals", op="causal_conv1d",
                   case="*refuse-accepted*"):
        """Exit code and verdict with message of the one case."""
        data = os.path.join(self.folder, "data")
        if not os.path.exists(data):
            shutil.copytree(os.path.join(SOURCE, "suites"), os.path.join(data, "suites"))
        path = os.path.join(data, "suites/profiles/vllm-xpu.json")
        with open(path, encoding="utf-8") as file:
            profile = json.load(file)
        profile["validates"] = claims
        with open(path, "w", encoding="utf-8") as file:
            json.dump(profile, file)
        report = os.path.join(self.folder, "report.json")
        worker = f"{sys.executable} {self.folder}/worker.py {what}"
        code = subprocess.run(
            [os.path.join(BIN, "gdn-conform"), "run", "--device", "bridge:exec=" + worker,
             "--suite", suite, "--case", op + "/" + case, "--report", report],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
            env={**os.environ, "GDN_DATA_DIR": data}).returncode
        with open(report, encoding="utf-8") as file:
            cases = json.load(file)["cases"]
        self.assertEqual(len(cases), 1)
        return code, cases[0]["verdict"], cases[0]["message"] or ""

    def test_refusals_pass(self):
        for what in ("decline", "status1", "status4", "status7"):
            self.assertEqual(self.run_device(what, True), (0, "pass", ""), what)

    def test_silence_is_a_finding_or_a_broken_promise(self):
        code, verdict, message = self.run_device("accept")
        self.assertEqual((code, verdict), (0, "xfail"))
        self.assertIn("accepted silently: num_accepted_tokens[1]: expected 0 to 3 but found 4",
                      message)
        code, verdict, message = self.run_device("accept", True)
        self.assertEqual((code, verdict), (1, "fail"))
        self.assertIn("says that its backend validates", message)

    def test_faults_are_no_refusals(self):
        code, verdict, message = self.run_device("status5")
        self.assertEqual((code, verdict), (1, "fail"))
        self.assertIn("status 5 is a fault", message)
        code, verdict, message = self.run_device("status1-written")
        self.assertEqual((code, verdict), (1, "fail"))
        self.assertIn("refused, but 1 bytes were written", message)
        self.assertEqual(self.run_device("crash")[:2], (1, "crash"))

    def test_a_call_that_is_right_after_all_is_judged(self):
        code, verdict, _ = self.run_device("accept", case="*absent:bias-*")
        self.assertEqual((code, verdict), (1, "fail"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
