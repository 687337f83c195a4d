#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes examples/base.json and new.json: a report of the CPU device, cut down to a case for
each kind of change, and the same report after those changes.

Usage: make_examples.py RIGHT.json WRONG.json FOLDER
(gdn-conform run --suite smoke --device cpu, and sim:deviation=state_transposed)
"""
import copy
import json
import os
import sys


def tally(report):
    names = ["pass", "fail", "xfail", "xpass", "skip", "unsupported", "crash", "hang"]
    report["verdicts"] = {n: sum(c["verdict"] == n for c in report["cases"]) for n in names}
    report["planned"] = len(report["cases"])
    red = any(report["verdicts"][n] for n in ("fail", "xpass", "crash", "hang"))
    declined = report["verdicts"]["unsupported"]
    why = ("cases failed" if red else
           "the device declined cases" if declined else "every case passed")
    report["exit"] = {"code": 1 if red or declined else 0, "why": why}


def budget(case, value):
    for tensor in case["tensors"]:
        if tensor["judgement"] == "bounded":
            tensor["budget"] = value


def verdict(case, name, message, tensors=True):
    case["verdict"] = name
    case["message"] = message
    if not tensors:
        case["tensors"] = []
        case.pop("maps", None)


def diagnosis(case, name):
    case["diagnosis"] = {"verdict": "diagnosed", "deviation": name,
                         "text": f"{name} reproduces the outputs"}


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def main():
    right, wrong = load(sys.argv[1]), load(sys.argv[2])
    fails = {c["id"]: c for c in wrong["cases"] if c.get("maps")}
    pairs = [(c, fails[c["id"]]) for c in right["cases"] if c["id"] in fails][:12]
    assert len(pairs) == 12
    base = dict(right, cases=[copy.deepcopy(good) for good, _ in pairs])
    base["device"] = {"name": "bridge:exec=./worker", "hardware": "Example 9000",
                      "driver": "1.2.3", "build": "abc", "lost": False, "lost_reason": None}
    base.pop("seconds", None)
    for case in base["cases"]:
        case.pop("maps", None)
        case["seconds"] = {"kernel": None, "device": 0.001, "total": 0.002}
    new = copy.deepcopy(base)
    new["device"]["driver"] = "1.3.0"
    before, after = base["cases"], new["cases"]

    def fail(cases, i):
        cases[i] = dict(copy.deepcopy(pairs[i][1]), seconds=cases[i]["seconds"],
                        replay=cases[i]["replay"])

    (drift, better, other, gone, raised, skipped, taken, newly,
     fixed, crashed, renamed, quiet) = range(12)
    budget(before[drift], 0.2), budget(after[drift], 0.5)
    budget(before[better], 0.9), budget(after[better], 0.3)
    after[other]["digest"] = "0123456789abcdef"
    for case, held, reason in ((before[raised], 0.1, None),
                               (after[raised], 0.3, "new <accumulator>, see #12")):
        case["ratchet"] = {"budget": held, "spread": 0.01, "reason": reason}
    verdict(after[skipped], "unsupported", "tp 8 is not supported", tensors=False)
    verdict(before[taken], "unsupported", "not yet", tensors=False)
    fail(after, newly)
    diagnosis(after[newly], "state_transposed")
    fail(before, fixed)
    fail(before, crashed)
    verdict(after[crashed], "crash", "the worker died of signal 11", tensors=False)
    fail(before, renamed)
    fail(after, renamed)
    diagnosis(before[renamed], "state_transposed")
    diagnosis(after[renamed], "wrong_layout")
    added = copy.deepcopy(after[quiet])
    added["id"] += "1"
    after.append(added)
    del after[gone]
    for name, report in (("base", base), ("new", new)):
        tally(report)
        with open(os.path.join(sys.argv[3], name + ".json"), "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)
            file.write("\n")


main()
