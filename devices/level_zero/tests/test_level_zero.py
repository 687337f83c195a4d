# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""The level_zero device on the driver without a GPU, and without any driver.

    test_level_zero.py BIN TEST_DRIVER PACKAGE
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

BIN, DRIVER, PACKAGE = sys.argv[1:4]
GATES = "gdn_gating/vllm-xpu*bf16*"
STAGES = "g*/vllm-xpu*/spec-*"


class LevelZero(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def run_on(self, options="", case=GATES, suite="smoke", driver=DRIVER, **environment):
        path = os.path.join(self.folder, "report.json")
        if os.path.exists(path):
            os.remove(path)
        clean = {k: v for k, v in os.environ.items() if not k.startswith("ZE_")}
        if driver:
            clean["ZE_ENABLE_ALT_DRIVERS"] = driver
        device = "level_zero" + (":" + options if options else "")
        done = subprocess.run(
            [f"{BIN}/gdn-conform", "run", "--device", device, "--suite", suite, "--case", case,
             "--no-diagnosis", "--report", path], capture_output=True, text=True,
            env={**clean, **environment})
        self.said = done.stdout + done.stderr
        self.report = None
        if os.path.exists(path):
            with open(path) as file:
                self.report = json.load(file)
        return done.returncode

    def assert_passes(self, *arguments, **named):
        self.assertEqual(self.run_on(*arguments, **named), 0, self.said)
        self.assertGreater(self.report["verdicts"]["pass"], 0)

    def package(self, edit=lambda spirv: spirv, **replaced):
        copy = os.path.join(self.folder, "package")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(PACKAGE, copy)
        with open(f"{PACKAGE}/gating.spv", "rb") as file:
            spirv = file.read()
        with open(f"{copy}/gating.spv", "wb") as file:
            file.write(edit(spirv))
        with open(f"{PACKAGE}/kernel.json") as file:
            text = file.read()
        for old, new in replaced.items():
            text = text.replace(f'"{old}"', f'"{new}"')
        with open(f"{copy}/kernel.json", "w") as file:
            file.write(text)
        return f"package={copy}"

    # ---- What keeps the device away

    def test_loader_without_a_driver_is_an_absent_device(self):
        self.assertEqual(self.run_on(driver="/nowhere.so"), 4)
        self.assertIn("zeInit", self.said)

    def test_driver_that_crashes_while_it_starts(self):
        self.assertEqual(self.run_on(ZE_TEST_FAULT="crash"), 4)
        self.assertIn("signal 6", self.said)

    def test_drivers_own_error_is_told(self):
        self.assertEqual(self.run_on(ZE_TEST_FAULT="error"), 4)
        self.assertIn("zeInit", self.said)

    def test_driver_without_a_device(self):
        self.assertEqual(self.run_on(ZE_TEST_FAULT="none"), 4)
        self.assertIn("zeDeviceGet found no device", self.said)

    def test_library_that_is_no_loader(self):
        self.assertEqual(self.run_on("driver=libm.so.6"), 4)
        self.assertIn("zeInit", self.said)

    def test_ordinal_beyond_the_last_tile(self):
        self.assertEqual(self.run_on("3"), 4)
        self.assertIn("devices 0 to 2", self.said)

    def test_options_are_told(self):
        self.assertEqual(self.run_on("memory=host"), 2)
        self.assertIn("expected device or shared", self.said)
        self.assertEqual(self.run_on("rtc=x"), 2)
        self.assertIn("memory=device|shared", self.said)

    # ---- Ways to run

    def test_device_memory_and_an_immediate_list(self):
        self.assert_passes(case=STAGES)

    def test_shared_memory(self):
        self.assert_passes("memory=shared", case=STAGES)

    def test_regular_lists(self):
        self.assert_passes("graph=1", case=STAGES)

    def test_regular_lists_on_shared_memory_of_a_tile(self):
        self.assert_passes("2,graph=1,memory=shared", case=STAGES)
        self.assertIn("tile 1 of device 0", self.report["device"]["hardware"])

    def test_times_come_from_events(self):
        self.assert_passes("repeat=3")
        for case in self.report["cases"]:
            self.assertGreater(case["seconds"]["kernel"], 0)

    def test_validation_layer_is_silent(self):
        for options in "", "graph=1", "memory=shared":
            self.assert_passes(options, ZE_ENABLE_VALIDATION_LAYER="1",
                               ZE_ENABLE_PARAMETER_VALIDATION="1")

    # ---- What goes wrong on the way

    def test_no_room_declines_with_sizes_and_the_run_goes_on(self):
        case = "g*/vllm-xpu@b/custom-hk2-hv6-*"
        self.assertEqual(self.run_on(case=case, ZE_TEST_MEMORY="65536"), 1, self.said)
        verdicts = self.report["verdicts"]
        self.assertGreater(verdicts["unsupported"], 0)
        self.assertGreater(verdicts["pass"], 0, "raise the limit: every case is declined")
        declined = [c for c in self.report["cases"] if c["verdict"] == "unsupported"]
        self.assertRegex(declined[0]["message"], r"take [0-9]+ bytes, the device has 65536")

    def test_forgotten_barriers_are_caught(self):
        self.assertEqual(self.run_on(case=STAGES, ZE_TEST_FAULT="barriers"), 1)
        self.assertGreater(self.report["verdicts"]["fail"], 0)

    def test_device_without_doubles_declines_what_needs_them(self):
        self.assertEqual(self.run_on(suite="rejection", case="rejection_sample/vllm-v1/*",
                                     ZE_TEST_FAULT="fp64"), 3, self.said)
        self.assertEqual({case["verdict"] for case in self.report["cases"]}, {"unsupported"})
        self.assertIn("rejection_sample: its coins are doubles, and this device has no fp64",
                      self.report["cases"][0]["message"])
        self.assert_passes(ZE_TEST_FAULT="fp64")

    # ---- Packages

    def test_package_of_spirv(self):
        self.assert_passes(self.package(), suite="qwen3-next")

    def test_truncated_spirv(self):
        self.assertEqual(self.run_on(self.package(lambda spirv: spirv[:1000])), 2)
        self.assertRegex(self.said, r"package/gating.spv: zeModuleCreate: \w+ \(0x70000004\): "
                                    r".*SPIRV stream fails")

    def test_spirv_of_an_unknown_version(self):
        newer = self.package(lambda spirv: spirv[:4] + b"\0\x09\x09\0" + spirv[8:])
        self.assertEqual(self.run_on(newer), 2)
        self.assertRegex(self.said, r"package/gating.spv: .*unsupported SPIR-V version")

    def test_missing_entry(self):
        self.assertEqual(self.run_on(self.package(gating="gatling")), 2)
        self.assertRegex(self.said, r"package/gating.spv: gatling: \w+INVALID_KERNEL_NAME")

    def test_argument_of_a_wrong_size(self):
        self.assertEqual(self.run_on(self.package(f32="i64")), 1)
        self.assertIn("gating: ZE_RESULT_ERROR_INVALID_KERNEL_ARGUMENT_SIZE", self.said)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
