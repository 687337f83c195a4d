# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""The host's side of the GPU adapters with a fake driver: no GPU is needed.

    test_gpu_host.py BIN FAKE_DRIVER
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

BIN, FAKE = sys.argv[1], sys.argv[2]
DEVICE = f"cuda:driver={FAKE},rtc={FAKE}"


class GpuHost(unittest.TestCase):
    def run_on(self, mode, *arguments, device=DEVICE, **environment):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "report.json")
            done = subprocess.run(
                [f"{BIN}/gdn-conform", "run", "--device", device, "--suite", "smoke",
                 "--report", path, *arguments], capture_output=True, text=True,
                env={**os.environ, "FAKE_DRIVER": mode, **environment})
            self.report = json.load(open(path)) if os.path.exists(path) else None
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
        self.assertEqual({c["verdict"] for c in cases}, {"fail"})

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


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
