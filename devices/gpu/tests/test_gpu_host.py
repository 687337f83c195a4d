# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""The host's side of the GPU adapters with a fake driver: no GPU is needed.

    test_gpu_host.py BIN FAKE_DRIVER EXAMPLE_PACKAGE
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import jsonschema

BIN, FAKE, PACKAGE = sys.argv[1:4]
DEVICE = f"cuda:driver={FAKE},rtc={FAKE}"


def read(path):
    with open(path) as file:
        return json.load(file)


class GpuHost(unittest.TestCase):
    def run_on(self, mode, *arguments, device=DEVICE, **environment):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "report.json")
            done = subprocess.run(
                [f"{BIN}/gdn-conform", "run", "--device", device, "--suite", "smoke",
                 "--report", path, *arguments], capture_output=True, text=True,
                env={**os.environ, "FAKE_DRIVER": mode, **environment})
            self.report = read(path) if os.path.exists(path) else None
        self.said = done.stderr
        return done.returncode

    def test_driver_that_aborts_is_an_absent_device(self):
        self.assertEqual(self.run_on("abort"), 4)
        self.assertIn("signal 6", self.said)
        self.assertIn("fake driver: no such firmware", self.said)

    def test_drivers_own_reason_is_told(self):
        self.assertEqual(self.run_on("error"), 4)
        self.assertIn("cuInit: CUDA_ERROR_UNKNOWN (999)", self.said)

    def test_driver_without_devices(self):
        self.assertEqual(self.run_on("none"), 4)
        self.assertIn("cuDeviceGetCount found no device", self.said)

    def test_library_that_is_not_there(self):
        self.assertEqual(self.run_on("idle", device="cuda:driver=/nowhere.so"), 4)
        self.assertIn("/nowhere.so", self.said)

    def test_library_that_is_no_driver(self):
        self.assertEqual(self.run_on("idle", device="cuda:driver=libm.so.6"), 4)
        self.assertIn("cuInit", self.said)

    def test_ordinal_beyond_the_last_device(self):
        self.assertEqual(self.run_on("idle", device=DEVICE.replace("cuda:", "cuda:3,")), 4)
        self.assertIn("device 3: the driver has devices 0 to 0", self.said)

    def test_unknown_options_are_bad_input(self):
        for option in ("x=1", "graph=2", "-1", "1x", "source="):
            self.assertEqual(self.run_on("idle", device=f"cuda:{option}"), 2, option)
            self.assertIn(f'found "{option}"', self.said)

    def test_source_folder_without_kernels(self):
        self.assertEqual(self.run_on("idle", device=DEVICE + ",source=/nowhere"), 2)
        self.assertIn("/nowhere/kernels.hip: No such file", self.said)

    def test_compilers_first_error_is_told(self):
        self.assertNotEqual(self.run_on("uncompilable"), 0)
        self.assertIn("common.hip(7): error: nonsense", self.said)

    def test_kernels_that_do_nothing_fail_every_case(self):
        self.assertEqual(self.run_on("idle"), 1)
        cases = self.report["cases"]
        self.assertTrue(cases)
        verdicts = {c["verdict"] for c in cases}
        self.assertIn("fail", verdicts)
        self.assertLessEqual(verdicts, {"fail", "unsupported"})

    def test_fault_costs_one_case(self):
        with tempfile.NamedTemporaryFile(delete=False) as mark:
            pass
        self.assertEqual(self.run_on("fault", FAKE_MARK=mark.name), 1)
        self.assertFalse(os.path.exists(mark.name))
        hit = [c for c in self.report["cases"] if "700" in (c.get("message") or "")]
        self.assertEqual(len(hit), 1, [c.get("message") for c in hit])
        self.assertIn("cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS (700)",
                      hit[0]["message"])
        self.assertNotIn("crash", {c["verdict"] for c in self.report["cases"]})

    def package(self, change=None, mode="idle"):
        """Runs the example package with members of kernel.json changed."""
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "package")
            shutil.copytree(PACKAGE, copy)
            path = os.path.join(copy, "kernel.json")
            document = read(path)
            for key, value in (change or {}).items():
                if value is None:
                    del document[key]
                else:
                    document[key] = value
            with open(path, "w") as file:
                json.dump(document, file)
            return self.run_on(mode, device=f"{DEVICE},package={copy}")

    def test_package_declines_what_it_does_not_claim(self):
        self.assertEqual(self.package(), 1)
        reasons = {c["message"] for c in self.report["cases"]
                   if c["verdict"] == "unsupported"}
        self.assertIn("the package has gdn_gating only", reasons)
        self.assertIn("dt_bias: the package takes none of type fp16", reasons)
        self.package({"when": ["HV == 5"]})
        self.assertIn("the package asks for HV == 5", {c["message"] for c in self.report["cases"]})
        self.package({"conventions": {"qkvz_layout": ["*"], "conv_window": ["snapshot"]}})
        self.assertIn("conv_window: the package does not claim \"sliding\"",
                      {c["message"] for c in self.report["cases"]})

    def test_bad_packages_are_bad_input(self):
        launch = read(os.path.join(PACKAGE, "kernel.json"))["launches"][0]
        for change, reason in (
                ({"schema": 2}, "schema: expected 1"),
                ({"op": "nothing"}, "op: expected the name of an op"),
                ({"types": None}, "types: expected"),
                ({"extra": 1}, "$.extra: there is no such member"),
                ({"modules": {"gating": {"source": "../x"}}}, "modules.*: expected"),
                ({"modules": {"gating": {"source": "absent.cu"}}}, "absent.cu: No such file"),
                ({"launches": []}, "launches: expected"),
                ({"launches": [{**launch, "grid": [1, 1]}]}, "launches[].grid: expected"),
                ({"launches": [{**launch, "module": "x"}]}, "launches[].module: expected"),
                ({"launches": [{**launch, "arguments": [{"i8": 1}]}]},
                 "launches[].arguments: expected")):
            self.assertEqual(self.package(change), 2, change)
            self.assertIn(reason, self.said)

    def test_examples_obey_the_schema(self):
        schema = read(os.path.join(PACKAGE, "../../kernel.schema.json"))
        for name in ("gating-source", "gating-triton"):
            path = os.path.join(os.path.dirname(PACKAGE), name, "kernel.json")
            jsonschema.validate(read(path), schema)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
