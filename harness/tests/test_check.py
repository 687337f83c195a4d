#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check, import and export: calls that production recorded, judged without a device.

Usage: test_check.py BINDIR SOURCEDIR MAKE_CAPTURE [unittest arguments]
"""
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

import h5py
import jsonschema
import numpy

BIN, SOURCE, MAKE_CAPTURE = sys.argv[1:4]
PROGRAM = os.path.join(BIN, "gdn-conform")

# Writes into the guard zones of the arena, which no tensor of a file holds.
INVISIBLE = {"stray_guard"}


def run(*arguments):
    result = subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, timeout=600)
    return result.returncode, result.stdout, result.stderr


def read_safetensors(path):
    """({name: (dtype, shape, bytes)}, metadata)"""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        data = file.read()
    metadata = header.pop("__metadata__", {})
    return {n: (e["dtype"], e["shape"], data[e["data_offsets"][0]:e["data_offsets"][1]])
            for n, e in header.items()}, metadata


def write_safetensors(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="gdn-check-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.ids = run("list", "cases", "--suite", "smoke")[1].split()

    def path(self, name):
        return os.path.join(self.folder, name)

    def pick(self, pattern):
        return next(i for i in self.ids if re.search(pattern, i))

    def capture(self, name, case, deviation="none", *more):
        subprocess.run([MAKE_CAPTURE, "smoke", case, deviation, self.path(name), *more],
                       check=True)
        return self.path(name)

    def expect(self, code, *arguments, err=(), out=()):
        found, stdout, stderr = run(*arguments)
        self.assertEqual(found, code, f"{arguments}\n{stdout}\n{stderr}")
        for text in [err] if isinstance(err, str) else err:
            self.assertIn(text, stderr)
        for text in [out] if isinstance(out, str) else out:
            self.assertIn(text, stdout)
        if code == 2:
            self.assertEqual(len(stderr.strip().splitlines()), 1, stderr)
        return stdout


class Verdicts(Case):
    def test_every_case_recorded_from_the_reference_passes(self):
        files = []
        for i, case in enumerate(self.ids):
            files.append(self.capture(f"{i}.{'h5' if i % 2 else 'safetensors'}", case))
        self.expect(0, "check", *files, out="every case passed")

    def test_every_deviation_is_named_in_a_recorded_call(self):
        matrix = json.loads(run("mutate", "--suite", "smoke", "--json")[1])
        self.assertGreater(len(matrix), 30)
        missed = []
        for row in matrix:
            file = self.capture(row["deviation"] + ".safetensors", row["killers"][0],
                                row["deviation"])
            code, out, err = run("check", file)
            self.assertIn(code, (0, 1), err)
            if code == 0:
                missed.append(row["deviation"])
            else:
                self.assertRegex(out, rf"(diagnosed|consistent with) .*{row['deviation']}\b")
        self.assertLessEqual(set(missed), INVISIBLE)

    def test_report(self):
        good = self.capture("good.h5", self.pick("^gdn_attention"))
        bad = self.capture("bad.h5", self.pick("^gdn_attention"), "state_transposed")
        self.expect(1, "check", good, bad, "--report", self.path("report.json"))
        with open(self.path("report.json"), encoding="utf-8") as file:
            report = json.load(file)
        with open(os.path.join(SOURCE, "reports/report.schema.json"), encoding="utf-8") as file:
            jsonschema.validate(report, json.load(file))
        self.assertEqual([c["verdict"] for c in report["cases"]], ["pass", "fail"])

    def test_a_write_into_a_foreign_slot_is_seen(self):
        file = self.capture("a.safetensors", self.pick("^gated_delta_rule.*dec"))
        tensors, metadata = read_safetensors(file)
        dtype, shape, content = tensors["output/ssm_state"]
        self.assertEqual(dtype, "F32")
        tensors["output/ssm_state"] = (dtype, shape, b"\0\0\0\0" + content[4:])  # slot 0
        write_safetensors(file, tensors, metadata)
        self.expect(1, "check", file, out="ssm_state[0,0,0,0]")

    def test_rows_that_the_call_does_not_write(self):
        case = self.pick(r"^gdn_attention.*-pad\d")
        file = self.capture("pad.safetensors", case)
        tensors, metadata = read_safetensors(file)
        self.assertIn("input/core_attn_out", tensors)
        dtype, shape, content = tensors["output/core_attn_out"]
        row = len(content) // shape[0]
        touched = content[:-row] + b"\0" * row
        tensors["output/core_attn_out"] = (dtype, shape, touched)
        write_safetensors(file, tensors, metadata)
        self.expect(1, "check", file)
        del tensors["input/core_attn_out"]  # nobody knows what the buffer held
        write_safetensors(file, tensors, metadata)
        self.expect(0, "check", file)


class Files(Case):
    def setUp(self):
        super().setUp()
        self.file = self.capture("good.safetensors", self.pick("^gdn_attention.*pre"))
        self.tensors, self.metadata = read_safetensors(self.file)
        self.about = json.loads(self.metadata["gdn_capture"])

    def write(self, **about):
        for key, value in about.items():
            self.about.pop(key) if value is None else self.about.__setitem__(key, value)
        write_safetensors(self.file, self.tensors, {"gdn_capture": json.dumps(self.about)})

    def test_what_is_missing_or_wrong_is_named(self):
        self.write(op="gdn_atention")
        self.expect(2, "check", self.file, err=["good.safetensors", "gdn_capture.op",
                                                'did you mean "gdn_attention"'])
        self.write(op="gdn_attention", profile="vllm-xpux")
        self.expect(2, "check", self.file, err="vllm-xpux")
        self.write(profile=None)
        self.expect(2, "check", self.file, err=["profile", "import --profile"])
        self.write(profile="vllm-xpu", schema=2)
        self.expect(2, "check", self.file, err="schema")
        scalars = self.about["scalars"]
        self.write(schema=1, scalars={k: v for k, v in scalars.items() if k != "tp_size"})
        self.expect(2, "check", self.file, err="scalars.tp_size")
        self.write(scalars={**scalars, "tpsize": 1})
        self.expect(2, "check", self.file, err='did you mean "tp_size"')
        self.write(scalars={**scalars, "num_v_heads": 7})
        self.expect(2, "check", self.file, err="num_v_heads")
        self.write(scalars=scalars)
        state = self.tensors.pop("output/ssm_state")
        self.write()
        self.expect(2, "check", self.file, err="output/ssm_state: the tensor is missing")
        self.tensors["output/ssm_state"] = (state[0], state[1][::-1], state[2])
        self.write()
        self.expect(2, "check", self.file, err="output/ssm_state")
        self.tensors["output/ssm_state"] = state
        self.tensors["input/A_lgo"] = self.tensors["input/A_log"]
        self.write()
        self.expect(2, "check", self.file, err='did you mean "A_log"')
        del self.tensors["input/A_lgo"]
        write_safetensors(self.file, self.tensors, {})
        self.expect(2, "check", self.file, err="import --op")

    def test_index_out_of_range(self):
        name = "input/non_spec_state_indices_tensor"
        dtype, shape, content = self.tensors[name]
        self.tensors[name] = (dtype, shape, struct.pack("<i", 10**6) + content[4:])
        self.write()
        self.expect(2, "check", self.file, err=["non_spec_state_indices_tensor", "1000000"])

    def test_no_such_file_and_no_such_format(self):
        self.expect(2, "check", self.path("none.h5"), err="none.h5")
        for content in (b"", b"short", b"\x89HDF\r\n\x1a\n" + b"\0" * 1000, b"x" * 1000):
            with open(self.path("odd"), "wb") as file:
                file.write(content)
            self.expect(2, "check", self.path("odd"), err="odd")

    def test_damaged_hdf5_is_a_message(self):
        file = self.capture("whole.h5", self.pick("^gdn_gating"))
        with open(file, "rb") as f:
            content = f.read()
        for at in range(8, min(len(content), 6000), 397):
            with open(self.path("hurt.h5"), "wb") as f:
                f.write(content[:at] + bytes([content[at] ^ 0xff]) + content[at + 1:])
            code, _, err = run("check", self.path("hurt.h5"))
            self.assertIn(code, (0, 1, 2), err)

    def test_h5py_writes_a_file_that_check_takes(self):
        case = self.pick("^gdn_gating.*fp16")
        source = self.capture("gating.safetensors", case)
        tensors, metadata = read_safetensors(source)
        types = {"F32": "<f4", "F16": "<f2", "I32": "<i4"}
        with h5py.File(self.path("by_h5py.h5"), "w") as file:
            for name, (dtype, shape, content) in tensors.items():
                file[name] = numpy.frombuffer(content, types[dtype]).reshape(shape)
            file.attrs["gdn_capture"] = metadata["gdn_capture"]
        self.expect(0, "check", self.path("by_h5py.h5"), out="every case passed")

    def test_import_completes_a_file(self):
        scalars = self.about["scalars"]
        dims = ",".join(str(scalars[k]) for k in ("num_k_heads", "num_v_heads", "head_k_dim",
                                                   "head_v_dim"))
        kept = {k: v for k, v in scalars.items() if k not in
                ("num_k_heads", "num_v_heads", "head_k_dim", "head_v_dim", "tp_size")}
        profile = self.about["profile"]
        self.write(profile=None, op=None, scalars=kept)
        target = self.path("complete.h5")
        self.expect(2, "import", self.file, "-o", target, err="gdn_capture.op")
        self.assertFalse(os.path.exists(target))
        self.expect(0, "import", self.file, "-o", target, "--op", "gdn_attention",
                    "--profile", profile, "--dims", dims, "--tp", str(scalars["tp_size"]))
        self.expect(0, "check", target, out="every case passed")
        self.assertEqual(run("import", self.file, "-o", target, "--dims", "1,2,3")[0], 2)

    def test_outputs_of_a_case_with_a_seed(self):
        case = self.pick("^gated_delta_rule")
        file = self.capture("seeded.safetensors", case, "none", "case")
        tensors, metadata = read_safetensors(file)
        self.assertFalse([n for n in tensors if n.startswith("input/")])
        self.expect(0, "check", file, out=case)
        about = json.loads(metadata["gdn_capture"])["case"]
        write_safetensors(self.path("bare.safetensors"), tensors, {})
        flags = ["--op", about["op"], "--profile", about["profile"], "--dims",
                 ",".join(str(about[k]) for k in ("num_k_heads", "num_v_heads", "head_k_dim",
                                                  "head_v_dim")),
                 "--tp", str(about["tp_size"]), "--batch", about["batch"], "--dtype",
                 about["dtype"], "--state-dtype", about["state_dtype"]]
        self.expect(0, "import", file, "-o", self.path("same.safetensors"))
        self.expect(0, "check", self.path("same.safetensors"))
        code, _, err = run("import", self.path("bare.safetensors"), "-o",
                           self.path("made.safetensors"), *flags, "--seed",
                           str(about["seed"] + 1))
        self.assertEqual(code, 0, err)
        self.expect(1, "check", self.path("made.safetensors"))  # other inputs than recorded


class Export(Case):
    def test_exported_files_are_what_the_vector_file_holds(self):
        self.expect(0, "export", "--suite", "smoke", "-o", self.folder, "--format",
                    "safetensors", out=f"{len(self.ids)} cases")
        golden = h5py.File(os.path.join(SOURCE, "vectors/golden/smoke.h5"), "r")
        types = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}
        compared = 0
        for case in self.ids:
            tensors, _ = read_safetensors(self.path(case + ".safetensors"))
            if case not in golden:
                continue
            names = []
            golden[case].visititems(
                lambda name, item: names.append(name)  # noqa: B023
                if isinstance(item, h5py.Dataset) else None)
            self.assertEqual(sorted(names), sorted(tensors))
            for name, (dtype, shape, content) in tensors.items():
                stored = golden[case][name]
                self.assertEqual(list(stored.shape), shape)
                if dtype in types:
                    self.assertEqual(stored[()].astype(types[dtype]).tobytes(), content,
                                     f"{case} {name}")
                    compared += 1
        self.assertGreater(compared, 300)

    def test_an_export_with_outputs_added_is_judged(self):
        case = self.pick("^gdn_gating.*fp16")
        self.expect(0, "export", "--suite", "smoke", "--case", case.replace("[", "?"), "-o",
                    self.folder)
        file = self.path(case + ".safetensors")
        tensors, metadata = read_safetensors(file)
        for name in ("g", "beta"):
            _, shape, content = tensors["golden/" + name]
            values = numpy.frombuffer(content, "<f8").astype("<f4")
            tensors["output/" + name] = ("F32", shape, values.tobytes())
        write_safetensors(file, tensors, metadata)
        self.expect(0, "check", file, out="every case passed")
        _, shape, content = tensors["output/g"]
        tensors["output/g"] = ("F32", shape, struct.pack("<f", 1.0) + content[4:])
        write_safetensors(file, tensors, metadata)
        self.expect(1, "check", file, out="g[0,0]")

    def test_usage(self):
        self.expect(2, "export", "--suite", "smoke", "-o", self.folder, "--case", "no/*",
                    err="no/*")
        self.assertEqual(run("export", "--suite", "smoke", "-o", self.folder, "--format",
                             "npz")[0], 2)

    def test_the_example_of_the_readme_runs(self):
        with open(os.path.join(SOURCE, "vectors/README.md"), encoding="utf-8") as file:
            code = re.search(r"```python\n(.*?)```", file.read(), re.S).group(1)
        self.assertLessEqual(len(code.strip().splitlines()), 5)
        result = subprocess.run([sys.executable, "-c", code], cwd=SOURCE, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"core_attn_out")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
