# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""`run --perf`: each case that passes is measured, no other is, and the figures hang together.

    test_perf.py BIN SCHEMA EMULATED_DRIVER
"""
import json
import os
import subprocess
import sys
import tempfile

import jsonschema

BIN, SCHEMA, DRIVER = sys.argv[1:4]


def run(device, *arguments):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "report.json")
        done = subprocess.run([f"{BIN}/gdn-conform", "run", "--device", device, "--suite",
                               "smoke", "--report", path, "--no-diagnosis", *arguments],
                              capture_output=True, text=True)
        report = json.load(open(path)) if os.path.exists(path) else None
        forms = subprocess.run([f"{BIN}/gdn-conform", "report", path, "--markdown",
                                os.path.join(folder, "x.md")], capture_output=True, text=True)
    if report:
        jsonschema.validate(report, json.load(open(SCHEMA)))
        assert forms.returncode == 0, forms.stderr
    return done, report


def check(case, runs, clock, told):
    perf = case["perf"]
    assert perf["runs"] == runs and perf["clock"] == clock, perf
    assert 0 < perf["least"] <= perf["median"] <= perf["most"], perf
    rate = perf["bytes"] / perf["median"]
    assert abs(perf["bytes_per_second"] - rate) <= 1e-9 * rate, perf
    assert (perf["bandwidth"] is not None) == told, perf
    if told:
        assert abs(perf["share"] - rate / perf["bandwidth"]) <= 1e-9 * perf["share"], perf


def main():
    gating = "gdn_gating/vllm-xpu@b/custom-hk2-hv6-k8-v8-w4/prefill-pre1x33/bf16+fp32/m0"
    for device, clock, told in (("cpu", "kernel", True),
                                (f"cuda:driver={DRIVER},rtc={DRIVER}", "kernel", True),
                                ("sim", "request", False)):
        done, report = run(device, "--perf=3", "--case", gating)
        assert done.returncode == 0, done.stdout + done.stderr
        check(report["cases"][0], 3, clock, told)
        # a and b of 33 rows and 6 heads in bf16, A_log and dt_bias of 6; g and beta in fp32.
        assert report["cases"][0]["perf"]["bytes"] == 33 * 6 * (2 + 2 + 4 + 4) + 6 * (4 + 2)
        assert done.stdout.count("perf ") == 1, done.stdout
    done, report = run("sim:deviation=dt_bias_missing", "--perf=2", "--case", "gdn_gating/*")
    failed = [c for c in report["cases"] if c["verdict"] != "pass"]
    assert failed and not any("perf" in c for c in failed), [c["verdict"] for c in failed]
    _, report = run("cpu", "--case", gating)
    assert "perf" not in report["cases"][0]
    for bad in ("0", "1001", "x"):
        done, _ = run("cpu", f"--perf={bad}")
        assert done.returncode == 2 and "--perf" in done.stderr, done.stderr
    print("perf: ok")


main()
