# SPDX-License-Identifier: Apache-2.0
"""Reports of any size for tests, with names that try to break out of every form."""
import json
import math
import random

HOSTILE = "<script>window.pwned=1</script>\"'>\n\x1b[31m\u202e`|</pre><img src=x onerror=alert(1)>"

OPS = ["gdn_attention", "gated_delta_rule", "causal_conv1d", "gdn_gating"]
MIXES = ["prefill-pre1x{n}", "decode-dec{n}", "spec-spec2x3", "mixed-pre1x{n}+dec3"]
TYPES = ["bf16+fp32", "bf16+bf16", "fp16+fp32", "fp32+fp32"]
LENGTHS = [1, 5, 64, 129, 1024, 8192]
VERDICTS = ["pass", "fail", "xfail", "xpass", "skip", "unsupported", "crash", "hang"]


def tensor(name, budget, failed):
    return {"name": name, "dtype": "bf16", "judgement": "bounded", "ok": not failed,
            "compared": 4096, "failed": 17 if failed else 0,
            "special": {"nan_unexpected": 0, "nan_missing": 0, "inf_wrong": 0, "unwritten": 0},
            "budget": budget, "binding": "bound", "pool": None, "worst": f"{name}[12,3,77]",
            "first_bad": f"{name}[0,0,1]" if failed else "", "golden": 0.25,
            "found": 0.2501, "limit": 1e-4, "max_error": 1e-4, "max_ulps": 0.5,
            "rel_l2": 1e-3, "rms": 1e-4, "nmse": 1e-6, "cosine": 0.999999,
            "upstream_ok": not failed}


def heat_map(draw, rows, columns, failed):
    cells = [10 ** draw.uniform(-3, -0.1) for _ in range(rows * columns)]
    if failed:
        for i in range(rows // 2, rows):
            for k in range(columns // 3, columns):
                cells[i * columns + k] = 10 ** draw.uniform(0.1, 4)
    return {"tensor": "core_attn_out", "rows": "token", "columns": "head",
            "n_rows": rows * 16, "n_columns": columns, "row_bins": rows,
            "column_bins": columns, "first_row": rows * 8 if failed else -1,
            "first_column": columns // 3 if failed else -1,
            "budget": [float(f"{c:.3g}") for c in cells]}


def make(count, seed=1, failing=0.02, name="cpu", worse=1.0):
    """A report of `count` cases; the same for the same arguments."""
    draw = random.Random(seed)
    cases = []
    for i in range(count):
        mix = MIXES[i % len(MIXES)].format(n=LENGTHS[i // 4 % len(LENGTHS)])
        case_id = (f"{OPS[i % 3 if i % 7 else 3]}/vllm-xpu@{'ab'[i % 2]}/qwen3-next-tp1/{mix}/"
                   f"{TYPES[i // 5 % 4]}/{('int', 'sep')[i // 3 % 2]}-n{i}")
        failed = draw.random() < failing
        verdict = "fail" if failed else "pass"
        budget = 10 ** draw.uniform(0.2, 7) if failed else 10 ** draw.uniform(-3, -0.02) * worse
        case = {"id": case_id, "verdict": verdict,
                "message": "core_attn_out: 17 of 4096 beyond the limit" if failed else None,
                "replay": f"gdn-conform run --case '{case_id}'", "output": None,
                "golden": "computed", "digest": f"{i:016x}",
                "tensors": [tensor("core_attn_out", budget, failed),
                            tensor("ssm_state", budget / 3, False),
                            tensor("z", 0.0, False), tensor("conv_state", 0.0, False)],
                "stray": {"bytes": 0, "first": ""},
                "seconds": {"kernel": None, "device": 0.001, "total": 0.01}}
        if failed and sum("maps" in c for c in cases) < 24:
            case["maps"] = [heat_map(draw, 64, 32, True)]
        cases.append(case)
    return finish({"schema": 1, "tool": {"name": "gdn-conform", "version": "0.1.0"},
                   "device": {"name": name, "hardware": "Example 9000", "driver": "1.2",
                              "build": "abc", "lost": False, "lost_reason": None},
                   "suites": "ci", "vectors": None, "vectors_digest": None, "cases": cases})


def make_hostile():
    report = make(3, failing=1.0, name="sim:" + HOSTILE)
    for case in report["cases"]:
        for member in ("message", "replay", "output"):
            case[member] = HOSTILE
        case["id"] += HOSTILE
        case["diagnosis"] = {"verdict": "diagnosed", "deviation": HOSTILE, "text": HOSTILE}
        case["known"] = HOSTILE
        for name in ("worst", "first_bad"):
            case["tensors"][0][name] = "<script>x</script>"
        case["tensors"][0]["name"] = "<script>x</script>"
        case["maps"][0].update(tensor="<script>x</script>", columns="<b>x</b>", rows="<i>x</i>")
    report["device"].update(hardware=HOSTILE, driver=HOSTILE, build=HOSTILE)
    report["suites"] = HOSTILE
    report["complaint"] = HOSTILE
    return finish(report)


def finish(report):
    counts = {v: sum(c["verdict"] == v for c in report["cases"]) for v in VERDICTS}
    red = sum(counts[v] for v in ("fail", "xpass", "crash", "hang"))
    report["verdicts"] = counts
    report["planned"] = len(report["cases"])
    report["exit"] = {"code": 1 if red else 0,
                      "why": "cases failed" if red else "every case passed"}
    return report


def write(report, path):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1, allow_nan=False)


def largest_budget(report):
    return max((t["budget"] for c in report["cases"] for t in c["tensors"]), default=math.nan)
