#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reports on the command line: every form against its golden output, diff, merge, tags, shards,
known failures, ratchet.

Usage: test_reports.py BINDIR SOURCEDIR FAKE_WORKER [unittest arguments]
GDN_REWRITE=1 rewrites the golden outputs; review them as any other change.
"""
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

import jsonschema

BIN, SOURCE, FAKE_WORKER = sys.argv[1:4]
PROGRAM = os.path.join(BIN, "gdn-conform")
EXAMPLES = os.path.join(SOURCE, "reports/tests/examples")
GOLDEN = os.path.join(SOURCE, "reports/tests/golden")
BASE, NEW = (os.path.join(EXAMPLES, name) for name in ("base.json", "new.json"))
# Threads that spin while they wait make a busy machine slow.
os.environ["OMP_WAIT_POLICY"] = "passive"
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import report_maker  # noqa: E402


def smoke_ids():
    return subprocess.run([PROGRAM, "list", "cases", "--suite", "smoke"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.split()


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def validate(what, schema):
    jsonschema.validate(what, load(os.path.join(SOURCE, "reports", schema)))


class Case(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="gdn-reports-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def expect(self, code, *arguments):
        result = subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, timeout=900, check=False)
        out, err = result.stdout.decode(), result.stderr.decode()
        self.assertEqual(result.returncode, code, f"{arguments}\n{out[-2000:]}\n{err[-2000:]}")
        if code == 2:
            self.assertEqual(err.count("gdn-conform"), err.count("\n"), err)
        return out, err

    def run_smoke(self, code, *arguments, name="report.json"):
        out, err = self.expect(code, "run", "--suite", "smoke", "--report", self.path(name),
                               *arguments)
        report = load(self.path(name))
        validate(report, "report.schema.json")
        return report, out, err

    def golden(self, name, text):
        path = os.path.join(GOLDEN, name)
        if os.environ.get("GDN_REWRITE"):
            os.makedirs(GOLDEN, exist_ok=True)
            with open(path, "w", encoding="utf-8", newline="") as file:
                file.write(text)
        with open(path, encoding="utf-8", newline="") as file:
            self.assertEqual(file.read(), text)


class Forms(Case):
    def test_examples_are_valid_reports(self):
        for path in (BASE, NEW):
            validate(load(path), "report.schema.json")

    def test_table(self):
        self.golden("table.txt", self.expect(0, "report", NEW)[0])

    def test_csv(self):
        out, _ = self.expect(0, "report", NEW, "--csv", "-")
        self.golden("report.csv", out)
        rows = list(csv.DictReader(io.StringIO(out, newline="")))
        report = load(NEW)
        self.assertEqual(len(rows), sum(max(len(c["tensors"]), 1) for c in report["cases"]))
        self.assertEqual({r["case"] for r in rows}, {c["id"] for c in report["cases"]})
        for row in rows:
            case = next(c for c in report["cases"] if c["id"] == row["case"])
            for tensor in case["tensors"]:
                if tensor["name"] == row["tensor"]:
                    self.assertEqual(float(row["budget"]), tensor["budget"])

    def test_junit(self):
        out, _ = self.expect(0, "report", NEW, "--junit", "-")
        self.golden("report.xml", out)
        suite = xml.fromstring(out).find("testsuite")
        report = load(NEW)
        self.assertEqual(int(suite.get("tests")), report["planned"])
        self.assertEqual(int(suite.get("failures")), report["verdicts"]["fail"])
        self.assertEqual(int(suite.get("errors")), report["verdicts"]["crash"])
        self.assertEqual(int(suite.get("skipped")), report["verdicts"]["unsupported"])
        for case, test in zip(report["cases"], suite.findall("testcase"), strict=True):
            self.assertEqual(test.get("name"), case["id"])
            bad = test.find("failure") if case["verdict"] == "fail" else test.find("error")
            self.assertEqual(bad is not None, case["verdict"] in ("fail", "crash"))
            if bad is not None:
                self.assertEqual(bad.get("message"), case["message"])
                self.assertIn(case["replay"], bad.text)
                self.assertIn(case["replay"], test.find("system-out").text)

    def test_markdown(self):
        self.golden("report.md", self.expect(0, "report", NEW, "--markdown", "-")[0])

    def test_html(self):
        out, _ = self.expect(0, "report", NEW, "--html", "-")
        out = re.sub(r"<style>.*</style>", "", out, flags=re.S)
        self.golden("report.html", re.sub(r"gdn-conform \d+\.\d+\.\d+", "gdn-conform", out))
        self.assertNotIn("http://", out)
        self.assertNotIn("https://", out)
        self.assertNotIn("<script", out)

    def test_annotations(self):
        self.golden("annotations.txt", self.expect(0, "report", NEW, "--annotations", "-")[0])

    def test_markdown_fits_into_a_comment(self):
        report_maker.write(report_maker.make(3000, failing=1.0), self.path("big.json"))
        out, _ = self.expect(0, "report", self.path("big.json"), "--markdown", "-")
        self.assertLessEqual(len(out.encode()), 60000)
        self.assertGreater(len(out.encode()), 55000)
        shown = out.count("\n| fail |")
        self.assertIn(f"{3000 - shown} more lines did not fit", out)

    def test_hostile_names_in_every_form(self):
        report_maker.write(report_maker.make_hostile(), self.path("h.json"))
        for form in ("--csv", "--junit", "--markdown", "--html", "--annotations"):
            out, _ = self.expect(0, "report", self.path("h.json"), form, "-")
            self.assertNotIn("\x1b", out, form)
            self.assertNotIn("\u202e", out, form)
            if form in ("--junit", "--markdown", "--html"):
                self.assertNotIn("<script", out, form)
                self.assertNotIn("<img", out, form)
        out, _ = self.expect(0, "report", self.path("h.json"))
        self.assertNotIn("\x1b", out)
        rows = list(csv.reader(io.StringIO(self.expect(0, "report", self.path("h.json"), "--csv",
                                                       "-")[0], newline="")))
        self.assertEqual({len(r) for r in rows}, {23})
        xml.fromstring(self.expect(0, "report", self.path("h.json"), "--junit", "-")[0])
        out, _ = self.expect(0, "report", self.path("h.json"), "--annotations", "-")
        self.assertEqual(len(out.splitlines()), 4)  # and the complaint about its list
        self.assertTrue(all(line.startswith("::error ") for line in out.splitlines()))

    def test_a_real_report_survives_reading_and_writing(self):
        """A field that the reader forgets would vanish here."""
        self.run_smoke(1, "--device", "sim:deviation=state_transposed")
        out, _ = self.expect(1, "merge", self.path("report.json"))
        with open(self.path("report.json"), encoding="utf-8") as file:
            self.assertEqual(out, file.read())
        for path in (BASE, NEW):
            merged = json.loads(self.expect(1 if load(path)["exit"]["code"] else 0, "merge",
                                            path)[0])
            self.assertEqual(merged, load(path))

    def test_run_writes_junit_and_maps(self):
        report, _, _ = self.run_smoke(1, "--device", "sim:deviation=state_transposed",
                                      "--junit", self.path("j.xml"))
        suite = xml.parse(self.path("j.xml")).getroot().find("testsuite")
        self.assertEqual(int(suite.get("failures")), report["verdicts"]["fail"])
        mapped = [c for c in report["cases"] if "maps" in c]
        self.assertEqual(len([c for c in mapped if c["verdict"] == "fail"]), 24)
        for case in mapped:
            for a_map in case["maps"]:
                self.assertEqual(len(a_map["budget"]),
                                 a_map["row_bins"] * a_map["column_bins"])
        self.assertEqual({p["name"] for p in report["profiles"]},
                         {i.split("/")[1].split("@")[0] for i in smoke_ids()})
        self.assertTrue(all(c["numeric_class"] for c in report["cases"]))
        self.assertEqual(report["allowed_seconds"], 10)
        self.assertGreater(report["seconds"], 0)
        report, _, _ = self.run_smoke(0)
        mapped = [c for c in report["cases"] if "maps" in c]
        self.assertEqual(len(mapped), 1)
        budget = {c["id"]: max(t["budget"] for t in c["tensors"]) for c in report["cases"]}
        self.assertEqual(budget[mapped[0]["id"]], max(budget.values()))


class BadReports(Case):
    def test_one_line_for_each(self):
        with open(NEW, encoding="utf-8") as file:
            good = file.read()
        broken = {
            "truncated": good[:len(good) // 2],
            "newer than 1": good.replace('"schema": 1', '"schema": 2', 1),
            "invalid token near 'NaN'": re.sub(r'"budget": [\d.e+-]+', '"budget": NaN', good, 1),
            "a number from 0": re.sub(r'"budget": [\d.e+-]+', '"budget": "nan"', good, 1),
            "was there before": good.replace(load(NEW)["cases"][1]["id"],
                                             load(NEW)["cases"][0]["id"]),
            "a JSON object": "\x7fELF",
        }
        for message, text in broken.items():
            with open(self.path("r.json"), "w", encoding="utf-8") as file:
                file.write(text)
            for command in (["report"], ["diff", BASE], ["merge"]):
                self.assertIn(message, self.expect(2, *command, self.path("r.json"))[1])
        self.assertIn("No such file", self.expect(2, "report", self.path("none.json"))[1])

    def refuse_stream(self, chunks, message):
        """Feeds a report by a pipe; returns the KiB that the program held at most."""
        process = subprocess.Popen([PROGRAM, "report", "-"], stdin=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        try:
            for chunk in chunks:
                process.stdin.write(chunk)
            process.stdin.close()
        except BrokenPipeError:
            pass
        error = process.stderr.read().decode()
        process.stderr.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 2)
        self.assertIn(message, error)
        return usage.ru_maxrss

    def test_a_gigabyte_is_not_held(self):
        """One endless value; and a gigabyte of good cases, more than a report may have."""
        most = 1 << 20 if "GDN_SANITIZED" in os.environ else 300 << 10
        self.assertLess(self.refuse_stream([b'{"x": "'] + [b"y" * 1000000] * 50,
                                           "a value of more than"), most)
        case = load(BASE)["cases"][0]

        def cases():
            yield b'{"schema": 1, "cases": ['
            for i in range(33000):
                yield json.dumps(dict(case, id=f"op/{i}")).encode() + b","
            block = (json.dumps(case) + ",").encode() * 1000
            for _ in range((1 << 30) // len(block)):
                yield block
            yield json.dumps(case).encode() + b"]}"

        self.assertLess(self.refuse_stream(cases(), "more than 32768 cases"), most)

    def test_a_file_of_zeros(self):
        with open(self.path("zeros.json"), "wb") as file:
            file.truncate(1 << 30)
        self.assertIn("a JSON object", self.expect(2, "report", self.path("zeros.json"))[1])


class Diff(Case):
    REGRESSIONS = {"new_failure", "verdict", "diagnosis", "drift_up", "declined"}

    def test_each_kind_of_change_by_name(self):
        out, _ = self.expect(1, "diff", BASE, NEW, "--json")
        diff = json.loads(out)
        validate(diff, "diff.schema.json")
        base, new = ({c["id"]: c for c in load(p)["cases"]} for p in (BASE, NEW))
        found = {}
        for change in diff["changes"]:
            self.assertNotIn(change["change"], found)
            found[change["change"]] = change
            self.assertEqual(change["regression"], change["change"] in self.REGRESSIONS)
            for side, cases in (("base", base), ("new", new)):
                case = cases.get(change["id"])
                self.assertEqual(change[side] and change[side]["verdict"],
                                 case and case["verdict"])
        kinds = self.REGRESSIONS | {"fixed", "taken", "drift_down", "other_golden", "gone",
                                    "added", "ratchet_raised"}
        self.assertEqual(set(found), kinds)
        self.assertEqual(diff["regressions"], 5)
        self.assertEqual(found["ratchet_raised"]["reason"], "new <accumulator>, see #12")
        self.assertEqual(found["drift_up"]["factor"], 2.5)
        self.assertEqual(found["diagnosis"]["base"]["deviation"], "state_transposed")
        self.assertEqual(found["diagnosis"]["new"]["deviation"], "wrong_layout")
        self.assertEqual(found["verdict"]["new"]["verdict"], "crash")
        self.assertEqual(diff["facts"], [{"what": "driver", "base": "1.2.3", "new": "1.3.0"}])
        self.assertEqual((diff["in_both"], diff["comparable"]), (11, 10))

    def test_golden_forms(self):
        self.golden("diff.txt", self.expect(1, "diff", BASE, NEW)[0])
        self.golden("diff.json", self.expect(1, "diff", BASE, NEW, "--json")[0])
        self.expect(1, "diff", BASE, NEW, "--markdown", self.path("d.md"))
        with open(self.path("d.md"), encoding="utf-8") as file:
            self.golden("diff.md", file.read())

    def test_backwards_it_is_the_reverse(self):
        diff = json.loads(self.expect(1, "diff", NEW, BASE, "--json")[0])
        self.assertEqual(diff["tally"]["new_failure"], 1)  # what was fixed
        self.assertEqual(diff["tally"]["fixed"], 1)
        self.assertEqual(diff["tally"]["ratchet_raised"], 0)

    def test_no_change_is_green(self):
        out, _ = self.expect(0, "diff", NEW, NEW)
        self.assertIn("12 cases in both, 12 comparable", out)
        self.assertIn("0 regressions", out)

    def test_skipped_for_another_reason_is_a_change_and_no_regression(self):
        new = load(NEW)
        for case in new["cases"]:
            case["verdict"] = "skip" if case["verdict"] == "unsupported" else case["verdict"]
        report_maker.write(report_maker.finish(new), self.path("new.json"))
        diff = json.loads(self.expect(0, "diff", NEW, self.path("new.json"), "--json")[0])
        self.assertEqual(diff["tally"]["skip_kind"], 1)

    def test_small_budgets_do_not_drift(self):
        for before, after, code in ((1e-6, 9e-3, 0), (0.01, 0.0151, 1), (0.01, 0.0149, 0),
                                    (0.0, 0.02, 1), (0.5, 0.1, 0)):
            for name, value in (("a", before), ("b", after)):
                report = report_maker.make(1, failing=0.0)
                for tensor in report["cases"][0]["tensors"]:
                    tensor["budget"] = value
                report_maker.write(report, self.path(name + ".json"))
            self.expect(code, "diff", self.path("a.json"), self.path("b.json"))

    def test_nothing_comparable_is_bad_input(self):
        new = load(NEW)
        for case in new["cases"]:
            case["digest"] = "f" * 16
        report_maker.write(new, self.path("new.json"))
        self.assertIn("nothing can be compared",
                      self.expect(2, "diff", BASE, self.path("new.json"))[1])
        self.assertIn("nothing can be compared",
                      self.expect(2, "diff", BASE, self.path("new.json"), "--matrix")[1])

    def test_matrix_of_three(self):
        third = load(NEW)
        third["device"]["name"] = "third"
        third["cases"] = third["cases"][:6]
        report_maker.write(report_maker.finish(third), self.path("third.json"))
        arguments = ("diff", BASE, NEW, self.path("third.json"), "--matrix")
        out, _ = self.expect(0, *arguments)
        self.golden("matrix.txt", out)
        matrix = json.loads(self.expect(0, *arguments, "--json")[0])
        self.assertEqual([len(r["cells"]) for r in matrix["rows"]], [3] * 13)
        self.expect(0, *arguments, "--markdown", self.path("m.md"))
        with open(self.path("m.md"), encoding="utf-8") as file:
            self.golden("matrix.md", file.read())
        self.expect(2, "diff", BASE, NEW, self.path("third.json"))

    def test_two_real_runs(self):
        self.run_smoke(0, name="a.json")
        self.run_smoke(1, "--device", "sim:deviation=wrong_layout", name="b.json")
        out, _ = self.expect(1, "diff", self.path("a.json"), self.path("b.json"))
        self.assertIn("REGRESSION new failure", out)
        self.assertIn(f"{len(smoke_ids())} cases in both, {len(smoke_ids())} comparable", out)


class Selection(Case):
    def test_shards_merge_into_the_whole_run(self):
        whole, _, _ = self.run_smoke(1, "--device", "sim:deviation=wrong_layout")
        shards = []
        for i in (1, 2, 3):
            name = f"shard{i}.json"
            code = 1
            report, _, _ = self.run_smoke(code, "--device", "sim:deviation=wrong_layout",
                                          "--shard", f"{i}/3", name=name)
            self.assertEqual(report["shard"], {"index": i, "count": 3})
            shards.append(self.path(name))
        self.expect(1, "merge", shards[2], shards[0], shards[1], "-o", self.path("m.json"))
        merged = load(self.path("m.json"))
        validate(merged, "report.schema.json")
        self.assertNotIn("shard", merged)
        self.assertEqual({c["id"]: c["verdict"] for c in merged["cases"]},
                         {c["id"]: c["verdict"] for c in whole["cases"]})
        self.assertEqual(merged["verdicts"], whole["verdicts"])
        self.expect(0, "diff", self.path("report.json"), self.path("m.json"))
        self.assertIn("2 reports were given", self.expect(2, "merge", *shards[:2])[1])
        self.assertIn("are both shard 1",
                      self.expect(2, "merge", shards[0], shards[0], shards[1])[1])
        self.run_smoke(0, "--shard", "3/3", name="other.json")
        self.assertIn("no shards of one run",
                      self.expect(2, "merge", *shards[:2], self.path("other.json"))[1])

    def test_tags(self):
        report, _, _ = self.run_smoke(0, "--tag", "spec & !slow & bf16")
        for case in report["cases"]:
            self.assertIn("/spec-", case["id"])
            self.assertIn("bf16", case["id"])
        self.assertIn('did you mean "spec"?',
                      self.expect(2, "run", "--suite", "smoke", "--tag", "spce")[1])

    def test_coverage(self):
        out, _ = self.expect(0, "list", "--coverage", "--suite", "smoke")
        self.assertRegex(out, r"head_k_dim +.*\b8: \d+")
        self.assertRegex(out, r"state_dtype +.*bf16: \d+")
        self.assertIn("never", out)


class KnownFailures(Case):
    def write(self, *entries):
        known = {"schema": 1, "known_failures": list(entries)}
        validate(known, "known_failures.schema.json")
        with open(self.path("known.json"), "w", encoding="utf-8") as file:
            json.dump(known, file)
        return self.path("known.json")

    def entry(self, case, kind="wrong", **rest):
        return {"device": "sim*", "case": case, "issue": "#42", "until": "2199-12-31",
                "kind": kind, **rest}

    def test_a_red_device_turns_green_by_its_list_only(self):
        report, _, _ = self.run_smoke(1, "--device", "sim:deviation=state_transposed")
        failing = [c["id"] for c in report["cases"] if c["verdict"] == "fail"]
        known = self.write(*(self.entry(i) for i in failing))
        report, out, _ = self.run_smoke(0, "--device", "sim:deviation=state_transposed",
                                        "--known-failures", known)
        self.assertEqual(report["verdicts"]["xfail"], len(failing))
        self.assertIn("failed as known", out)
        self.assertTrue(all(c["known"] == "#42" for c in report["cases"]
                            if c["verdict"] == "xfail"))
        # The same list on a device that is right.
        report, _, _ = self.run_smoke(1, "--device", "sim", "--known-failures", known)
        self.assertEqual(report["verdicts"]["xpass"], len(failing))

    def test_an_entry_without_a_case_is_red(self):
        known = self.write(self.entry("no/such/case"))
        report, _, err = self.run_smoke(1, "--device", "sim", "--known-failures", known)
        self.assertIn("matches no planned case", err)
        self.assertIn("matches no planned case", report["complaint"])
        # A shard and a glob plan fewer cases; the list speaks of all.
        known = self.write(self.entry("gdn_gating/*"))
        self.run_smoke(0, "--device", "sim", "--known-failures", known, "--case",
                       "gdn_metadata/*")

    def test_known_crashes_are_launched_in_quarantine_only(self):
        device = f"bridge:exec={FAKE_WORKER} crash"
        known = self.write({"device": "bridge*", "case": "*", "issue": "#1",
                            "until": "2199-12-31", "kind": "crash"})
        report, _, _ = self.run_smoke(0, "--device", device, "--known-failures", known, "--case",
                                      "gdn_gating/*")
        gates = sum(i.startswith("gdn_gating/") for i in smoke_ids())
        self.assertGreater(gates, 0)
        self.assertEqual(report["verdicts"]["xfail"], gates)
        self.assertTrue(all("not launched" in c["message"] for c in report["cases"]))
        report, _, _ = self.run_smoke(0, "--device", device, "--known-failures", known,
                                      "--retry-known", "--case", "gdn_gating/*")
        self.assertEqual(report["verdicts"]["xfail"], gates)
        self.assertTrue(all("as known" in c["message"] for c in report["cases"]))
        self.assertTrue(all("about to crash" in c["output"] for c in report["cases"]))
        self.assertFalse(report["device"]["lost"])


class Ratchet(Case):
    def test_lower_hold_raise(self):
        runs = []
        for i in range(5):
            self.run_smoke(0, name=f"r{i}.json")
            runs.append(self.path(f"r{i}.json"))
        ratchet = self.path("ratchet.json")
        self.assertIn(f"{len(smoke_ids())} added", self.expect(0, "ratchet", ratchet, *runs)[0])
        validate(load(ratchet), "ratchet.schema.json")
        report, _, _ = self.run_smoke(0, "--ratchet", ratchet)
        held = [c for c in report["cases"] if "ratchet" in c]
        self.assertEqual(len(held), len(smoke_ids()))
        case = max(held, key=lambda c: c["ratchet"]["budget"])["id"]
        entries = load(ratchet)
        best = entries["cases"][case]["budget"]
        entries["cases"][case].update(budget=best / 1.25 - 0.02, spread=0.01)
        report_maker.write(entries, ratchet)
        report, out, _ = self.run_smoke(1, "--ratchet", ratchet, name="red.json")
        self.assertEqual([c["id"] for c in report["cases"] if c["verdict"] == "fail"], [case])
        self.assertIn("ratchet: budget", out)
        entries["cases"][case].update(budget=best / 1.25, spread=0.001)
        report_maker.write(entries, ratchet)
        self.run_smoke(0, "--ratchet", ratchet)
        # Only for a reason, and the diff shows it.
        self.assertIn("0 raised", self.expect(0, "ratchet", ratchet, *runs)[0])
        self.expect(2, "ratchet", ratchet, *runs, "--raise", case)
        self.assertIn("1 raised", self.expect(0, "ratchet", ratchet, *runs, "--raise", case,
                                              "--reason", "fused kernel")[0])
        self.run_smoke(0, "--ratchet", ratchet, name="raised.json")
        out, _ = self.expect(0, "diff", self.path("report.json"), self.path("raised.json"))
        self.assertIn("ratchet raised", out)
        self.assertIn("fused kernel", out)

    def test_refusals(self):
        self.run_smoke(0)
        self.assertIn("at least 5", self.expect(2, "ratchet", self.path("r.json"),
                                                self.path("report.json"))[1])
        self.expect(0, "ratchet", self.path("r.json"), *[self.path("report.json")] * 5)
        self.assertIn("ratchet of device",
                      self.expect(2, "run", "--device", "sim", "--ratchet",
                                  self.path("r.json"))[1])
        stale = load(self.path("r.json"))
        for entry in stale["cases"].values():
            entry["digest"] = "f" * 16
        report_maker.write(stale, self.path("r.json"))
        report, _, err = self.run_smoke(1, "--ratchet", self.path("r.json"))
        self.assertIn(f"{len(smoke_ids())} entries are of other golden values", err)
        self.assertEqual(report["verdicts"]["fail"], 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
