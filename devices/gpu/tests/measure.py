# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""Speed of gdn_attention on a GPU, on buffers that are judged after the timed runs.

    measure.py BIN SOURCE_FOLDER DEVICE [COPY_GBPS]

Bytes are the least that the op must move: states in and out, projections in, z and output
out. COPY_GBPS: the device's copy bandwidth, to print the share of it.
"""
import json
import os
import subprocess
import sys
import tempfile

BIN, SOURCE, DEVICE = sys.argv[1:4]
COPY = float(sys.argv[4]) if len(sys.argv) > 4 else None

CASES = [("dec256", 256, 256), ("spec64x4", 256, 5 * 64), ("pre1x8192", 8192, 2)]
HK, HV, DIM, WIDTH = 16, 32, 128, 4


def suite(batches):
    return {"schema": 1, "suite": "speed", "summary": "timed", "groups": [{
        "summary": "timed",
        "base": {"op": "gdn_attention", "profile": "vllm-xpu@b", "model": "qwen3-next",
                 "num_k_heads": HK, "num_v_heads": HV, "head_k_dim": DIM, "head_v_dim": DIM,
                 "fill": "model"},
        "cases": [{"batch": b} for b in batches]}]}


def least_bytes(tokens, states):
    """`states`: how often a sequence's state crosses the bus."""
    state = HV * DIM * DIM * 4
    columns = 2 * HK * DIM + 2 * HV * DIM + 2 * HV
    return states * state + tokens * 2 * (columns + 2 * HV * DIM)


def main():
    with tempfile.TemporaryDirectory() as data:
        os.makedirs(f"{data}/suites/suites")
        os.makedirs(f"{data}/vectors/golden")
        os.symlink(os.path.abspath(f"{SOURCE}/suites/profiles"), f"{data}/suites/profiles")
        json.dump(suite([c[0] for c in CASES]), open(f"{data}/suites/suites/speed.json", "w"))
        joint = "," if ":" in DEVICE else ":"
        report = f"{data}/report.json"
        done = subprocess.run(
            [f"{BIN}/gdn-conform", "run", "--device", f"{DEVICE}{joint}repeat=30",
             "--suite", "speed", "--report", report], env={**os.environ, "GDN_DATA_DIR": data})
        cases = json.load(open(report))["cases"] if os.path.exists(report) else []
    for case in cases:
        batch, tokens, sequences = next(c for c in CASES if f"-{c[0]}/" in case["id"])
        states = {"dec256": 512, "spec64x4": 320, "pre1x8192": 2}[batch]
        size, seconds = least_bytes(tokens, states), case["seconds"]["kernel"]
        rate = size / seconds / 1e9
        share = f", {100 * rate / COPY:.0f} % of {COPY:.0f}" if COPY else ""
        print(f"{batch}: {case['verdict']}, {1e6 * seconds:.1f} us, {size / 1e6:.1f} MB, "
              f"{rate:.0f} GB/s{share}")
    return done.returncode


sys.exit(main())
