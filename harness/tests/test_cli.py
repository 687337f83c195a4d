#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The program as its users meet it: exit codes, messages, reports, killed and lying workers.

Usage: test_cli.py BINDIR SOURCEDIR FAKE_WORKER [unittest arguments]
"""
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

import jsonschema

BIN, SOURCE, FAKE_WORKER = sys.argv[1:4]
PROGRAM = os.path.join(BIN, "gdn-conform")
TIMEOUT = 900


def run(*arguments, env=None):
    """(exit code, stdout, stderr)"""
    result = subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, timeout=TIMEOUT,
                            env={**os.environ, **(env or {})})
    return result.returncode, result.stdout, result.stderr


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="gdn-cli-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def expect(self, code, *arguments, err=None, out=None, env=None):
        found, stdout, stderr = run(*arguments, env=env)
        self.assertEqual(found, code, f"{arguments}\n{stdout[-2000:]}\n{stderr[-2000:]}")
        for text in [err] if isinstance(err, str) else err or []:
            self.assertIn(text, stderr)
        for text in [out] if isinstance(out, str) else out or []:
            self.assertIn(text, stdout)
        if code == 2:
            self.assertEqual(len(stderr.strip().splitlines()), 1, stderr)
        return stdout, stderr

    def report(self, code, *arguments, env=None):
        """Runs with --report; the report is valid and accounts for every case."""
        self.expect(code, "run", *arguments, "--report", self.path("report.json"), env=env)
        with open(self.path("report.json"), encoding="utf-8") as file:
            report = json.load(file)
        with open(os.path.join(SOURCE, "reports/report.schema.json"), encoding="utf-8") as file:
            jsonschema.validate(report, json.load(file))
        self.assertEqual(report["planned"], sum(report["verdicts"].values()))
        self.assertEqual(report["planned"], len(report["cases"]))
        self.assertEqual(report["exit"]["code"], code)
        return report


class BadInput(Case):
    """Exit 2, one line that names the value and what was expected, nothing written."""

    def test_unknown_names_get_the_nearest_one(self):
        self.expect(2, "rnu", err='"rnu" (did you mean "run"?)')
        self.expect(2, "run", "--device", "cpuu", err='"cpuu" (did you mean "cpu"?)')
        self.expect(2, "run", "--suite", "smok", err='"smok" (did you mean "smoke"?)')
        self.expect(2, "run", "--devcie", "cpu", err='(did you mean "--device"?)')
        self.expect(2, "list", "opps", err='"opps" (did you mean "ops"?)')
        self.expect(2, "generate", "--suite", "smoek", err='"smoek" (did you mean "smoke"?)')

    def test_bad_values(self):
        code, _, err = run("run", "--timeout", "soon")
        self.assertEqual(code, 2)
        self.assertIn('"soon"', err)
        self.expect(2, "run", "--suite", "smoke", "--case", "no/such/*",
                    err='no case matches "no/such/*"')
        self.expect(2, "run", "--device", "sim:deviation=wrong_layuot", "--suite", "smoke",
                    err="wrong_layuot")
        self.expect(2, "run", "--device", "bridge:whatever", err="exec=COMMAND")
        self.expect(2, "run", "--suite", "smoke", "--vectors", self.path("none"),
                    err=self.path("none"))

    def test_unwritable_report_is_found_before_the_run(self):
        target = self.path("missing/report.json")
        start = time.monotonic()
        self.expect(2, "run", "--suite", "ci", "--report", target, err=target)
        self.assertLess(time.monotonic() - start, 10)
        self.expect(2, "run", "--suite", "smoke", "--events", target, err=target)
        self.assertEqual(os.listdir(self.folder), [])

    def test_report_path_that_is_a_folder_or_a_device(self):
        self.expect(2, "run", "--suite", "smoke", "--report", self.folder, err=self.folder)
        self.expect(2, "run", "--suite", "smoke", "--report", "", err="folder")
        link = self.path("link.json")
        os.symlink(self.path("target.json"), link)
        open(self.path("target.json"), "w").close()
        self.expect(0, "run", "--suite", "smoke", "--case", "gdn_gating/*", "--report", link)
        self.assertTrue(os.path.islink(link))
        self.expect(0, "run", "--suite", "smoke", "--case", "gdn_gating/*", "--report",
                    "/dev/null")
        self.assertTrue(stat.S_ISCHR(os.stat("/dev/null").st_mode))

    def test_lost_output_is_no_green_run(self):
        self.expect(3, "run", "--suite", "smoke", "--case", "gdn_gating/*", "--events",
                    "/dev/full", err="event stream")
        with open("/dev/full", "w", encoding="utf-8") as full:
            result = subprocess.run([PROGRAM, "list", "cases"], stdout=full,
                                    stderr=subprocess.DEVNULL, timeout=TIMEOUT)
        self.assertEqual(result.returncode, 3)

    def test_bad_suite_leaves_no_folder(self):
        self.expect(2, "generate", "--suite", "smoke,nosuch", "-o", self.path("new"))
        self.assertEqual(os.listdir(self.folder), [])

    def test_impossible_shapes_in_a_suite(self):
        data = self.path("data")
        shutil.copytree(os.path.join(SOURCE, "suites"), os.path.join(data, "suites"))
        rows = {
            '"num_v_heads": 5': "num_v_heads",
            '"tp_size": 3': "tp_size",
            '"batch": "spec2x0"': "spec2x0",
            '"dtype": "fp8"': "fp8",
            '"profile": "vllm-xpux"': "vllm-xpux",
            '"nonsense": 1': "nonsense",
        }
        base = {"op": "gdn_attention", "profile": "vllm-xpu", "batch": "dec1",
                "num_k_heads": 2, "num_v_heads": 4, "head_k_dim": 8, "head_v_dim": 8}
        for change, message in rows.items():
            case = {**base, **json.loads("{" + change + "}")}
            suite = {"schema": 1, "suite": "broken", "summary": "one impossible case",
                     "groups": [{"summary": "it", "cases": [case]}]}
            with open(os.path.join(data, "suites/suites/broken.json"), "w",
                      encoding="utf-8") as file:
                json.dump(suite, file)
            self.expect(2, "run", "--suite", "broken", err=["broken.json", message],
                        env={"GDN_DATA_DIR": data})


class Devices(Case):
    def test_cpu_passes_smoke_and_says_who_it_is(self):
        report = self.report(0, "--device", "cpu", "--suite", "smoke")
        self.assertGreaterEqual(report["verdicts"]["pass"], 40)
        self.assertTrue(report["device"]["hardware"])
        self.assertTrue(report["vectors_digest"])
        self.assertTrue(all(c["golden"] == "stored" for c in report["cases"]))

    def test_correct_sim_passes(self):
        self.report(0, "--device", "sim", "--suite", "smoke")

    def test_each_deviation_fails_only_what_it_touches(self):
        """The table says which tensors a deviation may change; the others stay right."""
        listing, _ = self.expect(0, "list", "deviations")
        touches = {}
        for line in listing.splitlines():
            if not line.startswith(" "):
                name = line.split()[0]
            elif "touches:" in line:
                touches[name] = set(line.split("touches:")[1].split())
            elif "ops:" in line:
                del touches[name]  # draft verification, which smoke has none of
        self.assertGreaterEqual(len(touches), 6)
        for name, allowed in touches.items():
            with self.subTest(deviation=name):
                report = self.report(1, "--device", f"sim:deviation={name}", "--suite", "smoke")
                self.assertGreaterEqual(report["verdicts"]["fail"], 1)
                for case in report["cases"]:
                    wrong = {t["name"] for t in case["tensors"] if not t["ok"]}
                    if case["stray"]["bytes"]:
                        wrong.add("elsewhere")
                    self.assertLessEqual(wrong, allowed, case["id"])

    def test_devices_says_what_is_here(self):
        self.expect(0, "devices", out=["cpu", "available"])

    def test_replay_line_reproduces_the_failure(self):
        report = self.report(1, "--device", "sim:deviation=decay_after_read", "--suite", "smoke")
        failed = next(c for c in report["cases"] if c["verdict"] == "fail")
        command = failed["replay"].replace("gdn-conform", PROGRAM, 1)
        result = subprocess.run(command, shell=True, stdout=subprocess.PIPE, text=True,
                                timeout=TIMEOUT)
        self.assertEqual(result.returncode, 1)
        self.assertIn("planned 1 = 0 pass + 1 fail", result.stdout)


class KillMatrix(Case):
    """`mutate` on bugs that no suite was written against."""

    def mutate(self, code, rows, err=None):
        path = self.path("deviations.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(rows, file)
        out, _ = self.expect(code, "mutate", "--suite", "smoke", "--deviations", path, "--json",
                             err=err)
        return json.loads(out) if code != 2 else None

    def test_unseen_deviations_are_killed(self):
        unseen = [
            ("eps_of_the_cpu", "l2norm_eps", "1e-5"),
            ("eps_huge", "l2norm_eps", "0.01"),
            ("eps_none", "l2norm_eps", "0"),
            ("eps_as_floor", "l2norm_form", "max"),
            ("softplus_cut", "softplus_threshold", "2"),
            ("softplus_early", "softplus_threshold", "0"),
            ("softplus_sharp", "softplus_beta", "4"),
            ("beta_thrice", "beta_rounding", "thrice_in_decode"),
            ("keys_rounded_late", "chunk_qk", "scaled"),
            ("line_rolls", "conv_window", "rolling"),
            ("y_unrounded", "conv_output", "none"),
            ("state_rounded_by_chunk", "state_carry", "chunk"),
        ]
        rows = [{"name": name, "symptom": f"{field} is {value}", "field": field, "value": value}
                for name, field, value in unseen]
        matrix = self.mutate(0, rows)
        self.assertEqual([row["standing"] for row in matrix], ["killed"] * len(unseen))
        self.assertTrue(all(row["killers"] for row in matrix))

    def test_change_that_changes_nothing_is_invisible_and_red(self):
        rows = [{"name": "none", "symptom": "nothing", "field": "spec_column",
                 "value": "accepted_minus_one"}]
        self.assertEqual(self.mutate(1, rows)[0]["standing"], "INVISIBLE")

    def test_bad_deviation_files_are_refused(self):
        row = {"name": "x", "symptom": "y", "field": "l2norm_epz", "value": "1"}
        self.mutate(2, [row], err=["deviations.json", "l2norm_epz"])
        self.mutate(2, [{**row, "field": "history", "value": "maybe"}], err="maybe")
        self.mutate(2, [{"name": "x"}], err="$[0]")
        self.mutate(2, {"not": "an array"}, err="array")


class Workers(Case):
    """A worker that misbehaves costs its case and no other."""

    def expect_fault(self, fault, verdict, *more):
        report = self.report(1, "--device", f"sim:fault={fault},fault-op=gdn_metadata",
                             "--suite", "smoke", *more)
        hit = [c for c in report["cases"] if c["id"].startswith("gdn_metadata/")]
        rest = [c for c in report["cases"] if not c["id"].startswith("gdn_metadata/")]
        self.assertTrue(hit and rest)
        self.assertEqual({c["verdict"] for c in hit}, {verdict})
        self.assertEqual({c["verdict"] for c in rest}, {"pass"})
        return hit

    def test_crash_costs_its_case(self):
        hit = self.expect_fault("crash", "crash")
        self.assertIn("signal", hit[0]["message"].lower())

    def test_crash_of_any_op_is_no_lost_device(self):
        for op in ("causal_conv1d", "gdn_gating", "gated_delta_rule", "gdn_attention"):
            with self.subTest(op=op):
                report = self.report(1, "--device", f"sim:fault=crash,fault-op={op}",
                                     "--suite", "smoke")
                for case in report["cases"]:
                    crashed = case["id"].startswith(op + "/")
                    self.assertEqual(case["verdict"], "crash" if crashed else "pass")

    def test_worker_that_dies_at_hello_says_why(self):
        self.expect(4, "run", "--suite", "smoke", "--device",
                    "bridge:exec=python3 -c 'import nosuchmodule'", err="nosuchmodule")

    def test_hang_costs_its_case(self):
        self.expect_fault("hang", "hang", "--timeout", "1.5")

    def test_error_answer_is_a_failure_with_its_text(self):
        hit = self.expect_fault("error", "fail")
        self.assertIn("fault=error", hit[0]["message"])

    def test_printing_is_harmless_and_kept(self):
        report = self.report(0, "--device", "sim:fault=stdout", "--suite", "smoke",
                             "--case", "gdn_gating/*")
        self.assertIn("may print", report["cases"][0]["output"])

    def test_device_that_always_crashes_is_lost(self):
        report = self.report(4, "--device", "sim:fault=crash", "--suite", "smoke")
        self.assertTrue(report["device"]["lost"])
        self.assertEqual(report["verdicts"]["crash"], 1)
        self.assertEqual(report["verdicts"]["skip"], report["planned"] - 1)

    def test_worker_that_answers_garbage(self):
        report = self.report(4, "--device", f"bridge:exec={FAKE_WORKER} garbage",
                             "--suite", "smoke", "--case", "gdn_metadata/*")
        self.assertGreaterEqual(report["verdicts"]["crash"], 1)

    def test_worker_that_is_no_program(self):
        self.expect(4, "run", "--device", "bridge:exec=/nonexistent/worker", "--suite", "smoke",
                    err="/nonexistent/worker")

    def test_killed_host_loses_no_verdict(self):
        """The event stream is flushed before each launch: after SIGKILL it ends with the case
        that was running and holds every verdict before it."""
        events = self.path("events")
        process = subprocess.Popen(
            [PROGRAM, "run", "--device", "sim:fault=hang,fault-op=gdn_metadata", "--suite",
             "smoke", "--timeout", "600", "--events", events],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        def read_lines():
            if not os.path.exists(events):
                return []
            with open(events, encoding="utf-8") as file:
                return [json.loads(line) for line in file.read().splitlines()]
        deadline = time.monotonic() + 300
        lines = []
        while time.monotonic() < deadline:
            lines = read_lines()
            if lines and lines[-1]["event"] == "start" and "gdn_metadata" in lines[-1]["id"]:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        lines = read_lines()
        self.assertEqual(lines[0]["event"], "run")
        self.assertEqual(lines[-1]["event"], "start")
        self.assertIn("gdn_metadata", lines[-1]["id"])
        starts = [l["id"] for l in lines if l["event"] == "start"]
        verdicts = [l["case"]["id"] for l in lines if l["event"] == "verdict"]
        self.assertEqual(verdicts, starts[:-1])
        self.assertGreater(len(verdicts), 10)


class Vectors(Case):
    def generate(self):
        self.expect(0, "generate", "--suite", "smoke", "-o", self.folder, out="smoke:")
        return self.path("smoke.h5")

    def run_on(self, code, err=None):
        return self.expect(code, "run", "--device", "cpu", "--suite", "smoke", "--vectors",
                           self.folder, err=err)

    def test_committed_golden_file_is_what_this_build_generates(self):
        self.expect(0, "generate", "--suite", "smoke", "--check", out="all digests and certificates")

    def test_committed_golden_file_is_certified_throughout(self):
        listing, _ = self.expect(0, "list", "vectors")
        found = re.search(r"certified: (\d+) of (\d+) cases, at most (\S+) of a limit", listing)
        self.assertIsNotNone(found, listing)
        self.assertEqual(found[1], found[2])
        self.assertGreater(int(found[1]), 0)
        self.assertLessEqual(float(found[3]), 1e-9)

    def test_generated_file_judges_and_checks(self):
        self.generate()
        self.run_on(0)
        self.expect(0, "generate", "--suite", "smoke", "--check", "-o", self.folder)

    def test_one_thread_gives_the_same_digests(self):
        self.expect(0, "generate", "--suite", "smoke", "--check",
                    env={"OMP_NUM_THREADS": "1"})

    def test_every_kernel_gives_the_same_digests(self):
        """A vector kernel may be missing on this machine (exit 4); plain code never is."""
        ran = []
        for kernel in ("scalar", "avx2", "avx512", "neon"):
            code, _, err = run("generate", "--suite", "smoke", "--check",
                               env={"GDN_REFERENCE_KERNEL": kernel})
            if code == 4:
                self.assertIn(f'has no kernel "{kernel}"', err)
                continue
            self.assertEqual(code, 0, err)
            ran.append(kernel)
        self.assertTrue({"scalar", "neon"} & set(ran), ran)
        self.expect(2, "generate", "--suite", "smoke", "--check", err='(did you mean "avx2"?)',
                    env={"GDN_REFERENCE_KERNEL": "avx22"})

    def test_flipped_golden_byte_is_refused(self):
        path = self.generate()
        with open(path, "r+b") as file:
            data = bytearray(file.read())
            data[len(data) // 2] ^= 1
            file.seek(0)
            file.write(data)
        self.run_on(2, err="smoke.h5")
        code, _, _ = run("generate", "--suite", "smoke", "--check", "-o", self.folder)
        self.assertEqual(code, 1)

    def test_truncated_and_foreign_files_are_refused(self):
        path = self.generate()
        os.truncate(path, os.path.getsize(path) // 2)
        self.run_on(2, err="smoke.h5")
        with open(path, "wb") as file:
            file.write(b"not HDF5 at all")
        self.run_on(2, err="smoke.h5")
        os.unlink(path)
        self.run_on(2, err="smoke.h5")

    def test_killed_generator_leaves_the_old_file_or_none(self):
        path = self.generate()
        with open(path, "rb") as file:
            before = file.read()
        for delay in (0.05, 0.2, 0.6):
            process = subprocess.Popen([PROGRAM, "generate", "--suite", "smoke", "-o",
                                        self.folder], stdout=subprocess.DEVNULL)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.wait()
            with open(path, "rb") as file:
                self.assertEqual(file.read(), before)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
