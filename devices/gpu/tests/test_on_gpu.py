# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""On a machine with a GPU: bugs planted in the kernels are caught, and faults cost one case.

    test_on_gpu.py BIN KERNELS_FOLDER DEVICE

DEVICE: cuda or hip, with options. Exit 77 where there is no such device. Each bug is an edit
of one place of a copy of the kernels' source, which the adapter compiles instead of its own.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

BIN, FOLDER, DEVICE = sys.argv[1:4]

# name, file, what stands there, what the bug makes of it. The recurrence has no barrier of
# its own, so that bug shares the keys of a block through memory and forgets it.
BUGS = [
    ("layout", "common.hip",
     "(ratio + head % ratio) * l.v_dim;", "(head % ratio) * l.v_dim;"),
    ("state order", "gated_delta_rule.hip",
     "gk_get<DTYPE>(from.data, row + k * from.k_stride)",
     "gk_get<DTYPE>(from.data, (v0 + r) * from.k_stride + k * from.v_stride)"),
    ("accepted slot", "common.hip",
     "accepted > 0 ? accepted - 1 : 0", "accepted"),
    ("tail", "gates.hip",
     "d < args.k_dim; d += GDN_WARP) {\n        const double value",
     "d < args.k_dim / GDN_WARP * GDN_WARP; d += GDN_WARP) {\n        const double value"),
    ("barrier", "gated_delta_rule.hip",
     "        const float g = gk_load(",
     "        __shared__ float shared[GDN_WARP * PARTS];\n"
     "        const int rows = args.v_dim - 1 - (int)blockIdx.z * GK_WARPS * GK_ROWS(PARTS);\n"
     "        const int last = rows / GK_ROWS(PARTS);\n"
     "        for (int p = 0; p < PARTS && warp == (last < 3 ? last : 3); p++) {\n"
     "            shared[p * GDN_WARP + lane] = k[p];\n"
     "        }\n"
     "        for (int p = 0; p < PARTS; p++) {\n"
     "            k[p] = shared[p * GDN_WARP + lane];\n"
     "        }\n"
     "        const float g = gk_load("),
    ("gate", "gates.hip",
     "const float x = a + gk_load(args.dt_bias, head * args.dt_bias.stride[0]);",
     "const float x = a;"),
    ("pad", "gdn_metadata.hip",
     "                       args->pad_slot);", "                       args->pad_slot + 1);"),
    ("guard", "gates.hip",
     "    for (int i = (int)threadIdx.x; i < count; i +=",
     "    for (int i = (int)threadIdx.x; i <= count; i +="),
]

# Writes to what the op does not own.
STRAYS = [
    ("guard write", "gated_delta_rule.hip",
     "    const bool has_row =",
     "    if (args.group.count > 0) {\n"
     "        gk_store(args.out, -1, 1.0f);\n"
     "    }\n"
     "    const bool has_row ="),
    ("pad row write", "gates.hip",
     "    const long long row = gk_row(args.group, blockIdx.x);\n"
     "    const int count = args.layout.value_heads * args.layout.v_dim;",
     "    const long long row = gk_row(args.group, blockIdx.x) + 1;\n"
     "    const int count = args.layout.value_heads * args.layout.v_dim;"),
    ("foreign slot write", "causal_conv1d.hip",
     "slot * lines.stride[0] + row * lines.stride[1]",
     "(slot ^ 1) * lines.stride[0] + row * lines.stride[1]"),
]

# In the one case of the gates alone that has 33 rows.
ONE_CASE = "if (args.layout.plain && args.rows == 33)"
ENTRY = ("    const long long item = (long long)blockIdx.x * blockDim.x + threadIdx.x;\n")
FAULTS = [
    ("illegal address", "fail", "ILLEGAL_ADDRESS",
     ENTRY + f"    {ONE_CASE} {{\n        *(volatile int *)16 = 1;\n    }}\n"),
    ("endless loop", "hang", "no answer within",
     ENTRY + f"    {ONE_CASE} {{\n        volatile int *spin = (volatile int *)args.g.data;\n"
     "        while (*spin != 0x12345678) {\n        }\n    }\n"),
]


def run(device, *arguments):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "report.json")
        done = subprocess.run(
            [f"{BIN}/gdn-conform", "run", "--device", device, "--suite", "smoke",
             "--timeout", "10", "--report", path, *arguments],
            capture_output=True, text=True)
        report = json.load(open(path)) if os.path.exists(path) else None
    return done, report


def run_patched(file, old, new):
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "kernels")
        shutil.copytree(FOLDER, copy)
        path = os.path.join(copy, file)
        text = open(path).read()
        if text.count(old) != 1:
            sys.exit(f"{file}: expected one place to edit but found {text.count(old)}: {old}")
        with open(path, "w") as out:
            out.write(text.replace(old, new))
        joint = "," if ":" in DEVICE else ":"
        return run(f"{DEVICE}{joint}source={copy}")


def count(report, *verdicts):
    return sum(report["verdicts"][v] for v in verdicts)


def main():
    done, report = run(DEVICE)
    if done.returncode == 4 and report is None:
        print(done.stderr)
        return 77
    if done.returncode != 0:
        print(done.stdout, done.stderr)
        return 1
    bad = 0
    for name, file, old, new in BUGS + STRAYS:
        done, report = run_patched(file, old, new)
        caught = done.returncode == 1 and report and count(report, "fail") > 0
        bad += not caught
        print(f"{name:20} " + (f"caught by {count(report, 'fail')} of {report['planned']}"
                               if caught else f"NOT caught {done.stderr[-500:]}"))
        first = next((c for c in report["cases"] if c["verdict"] == "fail"), {}) \
            if report else {}
        print(f"{'':20} {(first.get('message') or '')[:150]}")
    for name, verdict, message, new in FAULTS:
        done, report = run_patched("gates.hip", ENTRY, new)
        hit = [c for c in report["cases"] if c["verdict"] != "pass"] if report else []
        alone = (done.returncode == 1 and len(hit) == 1 and hit[0]["verdict"] == verdict and
                 message in (hit[0]["message"] or ""))
        bad += not alone
        print(f"{name:20} " + ("cost one case" if alone else f"NOT one case: {done.stderr}") +
              "".join(f"\n{'':20} {c['verdict']} {c['id']}: {c['message'] or ''}"
                      for c in hit[:3]))
    return 1 if bad else 0


sys.exit(main())
