# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""Speed on a GPU at serving sizes: `run --perf` over a suite of its own.

    measure.py BIN SOURCE_FOLDER DEVICE
"""
import json
import os
import subprocess
import sys
import tempfile

BIN, SOURCE, DEVICE = sys.argv[1:4]

SIZES = {"model": "qwen3-next", "num_k_heads": 16, "num_v_heads": 32, "head_k_dim": 128,
         "head_v_dim": 128, "fill": "model"}
CASES = [("gdn_attention", "vllm-xpu@b", ("dec256", "spec64x4", "pre1x8192")),
         ("gated_delta_rule", "vllm-triton", ("dec256", "pre1x4096", "pre8x512"))]


def main():
    suite = {"schema": 1, "suite": "speed", "summary": "timed", "groups": [
        {"summary": "timed", "base": {"op": op, "profile": profile, **SIZES},
         "cases": [{"batch": batch} for batch in batches]} for op, profile, batches in CASES]}
    with tempfile.TemporaryDirectory() as data:
        os.makedirs(f"{data}/suites/suites")
        os.makedirs(f"{data}/vectors/golden")
        os.symlink(os.path.abspath(f"{SOURCE}/suites/profiles"), f"{data}/suites/profiles")
        json.dump(suite, open(f"{data}/suites/suites/speed.json", "w"))
        return subprocess.run(
            [f"{BIN}/gdn-conform", "run", "--device", DEVICE, "--suite", "speed",
             "--perf=30"], env={**os.environ, "GDN_DATA_DIR": data}).returncode


sys.exit(main())
