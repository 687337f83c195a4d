#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The worker protocol in Python: what gdn_worker answers, and what a bad backend costs.

Usage: test_bridge_worker.py BINDIR SOURCEDIR CC [unittest arguments]
"""
import glob
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

BIN, SOURCE, CC = sys.argv[1:4]
PROGRAM = os.path.abspath(os.path.join(BIN, "gdn-conform"))
BRIDGE = os.path.abspath(os.path.join(SOURCE, "devices/bridge"))
LAUNCHER = os.path.join(BRIDGE, "gdn_worker")

# numpy alone: a worker that loads torch takes ten times as long to start.
GATING = '''
import os
import time

import numpy
from gdn_worker import Unsupported

PROFILE = "vllm-xpu"
OPTIONS = {"mode": "good"}


def probe():
    return {"hardware": "host", "driver": "d", "build": "b"}


def has(call, mode):
    # One case of the two: the other must not suffer for it.
    return OPTIONS["mode"] == mode and call.spec("a").shape[0] == 33


def supports(call):
    if has(call, "declines"):
        raise Unsupported("not this one")
    return call.unlike(beta_storage="fp32", beta_tail="as_others", softplus_beta="1")


def fp32(call, name):
    values = call.numpy(name)
    if call.spec(name).dtype == "bf16":
        return (values.astype("uint32") << 16).view("float32")
    return values.astype("float32")


def gdn_gating(call):
    x = fp32(call, "a") + fp32(call, "dt_bias")
    g = -numpy.exp(fp32(call, "A_log")) * numpy.logaddexp(x, numpy.float32(0))
    beta = 1 / (1 + numpy.exp(-fp32(call, "b")))
    if has(call, "raises"):
        print("the kernel's own words")
        raise ArithmeticError("lost a warp")
    if has(call, "late"):
        raise Unsupported("too large")
    if has(call, "dies"):
        os.kill(os.getpid(), 11)
    if has(call, "hangs"):
        time.sleep(60)
    if has(call, "stray"):  # into the guard behind g
        end = call.spec("g").offset + call.spec("g").bytes
        call.memory.map[end:end + 8] = b"12345678"
    if has(call, "twice"):
        os.write(int(os.environ["GDN_WORKER_FD"]), b'{"type":"done","id":2}\\n')
    return {"g": g.astype("float16") if has(call, "dtype") else g, "beta": beta}
'''

CASES = "gdn_gating/vllm-xpu*"


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="gdn-bridge-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.backend = self.write("mine.py", GATING)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path


class Talk(Folder):
    """A host of a few lines."""

    def start(self, path=None):
        host, worker = socket.socketpair()
        process = subprocess.Popen(
            [sys.executable, LAUNCHER, path or self.backend], pass_fds=[worker.fileno()],
            env={**os.environ, "GDN_WORKER_FD": str(worker.fileno())},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        worker.close()
        host.settimeout(60)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(host.close)
        self.host, self.process, self.id = host, process, 0

    def read(self):
        line = b""
        while not line.endswith(b"\n"):
            part = self.host.recv(65536)
            if not part:
                return None
            line += part
        return json.loads(line)

    def ask(self, fd=None, **request):
        self.id += 1
        line = json.dumps({"id": self.id, **request}).encode() + b"\n"
        if fd is None:
            self.host.sendall(line)
        else:
            socket.send_fds(self.host, [line], [fd])
        answer = self.read()
        self.assertEqual(answer.pop("id"), self.id)
        return answer

    def hello(self, options="", **more):
        return self.ask(**{"type": "hello", "protocol": 1, "device": "bridge",
                           "options": options, **more})

    def call(self, rows=3, **changes):
        """gdn_gating of `rows` tokens and 2 heads, and a memfd that holds it."""
        tensors, offset = [], 0
        for name, dtype, shape in (("A_log", "fp32", [2]), ("dt_bias", "bf16", [2]),
                                   ("a", "bf16", [rows, 2]), ("b", "bf16", [rows, 2]),
                                   ("g", "fp32", [rows, 2]), ("beta", "fp32", [rows, 2])):
            stride = [2, 1][2 - len(shape):]
            tensors.append({"name": name, "dtype": dtype, "offset": offset, "shape": shape,
                            "stride": stride, **changes.get(name, {})})
            offset += 256
        conventions = {"beta_storage": "fp32", "beta_tail": "as_others", "softplus_beta": "1"}
        return {"op": "gdn_gating", "conventions": conventions, "scalars": {},
                "tensors": tensors}

    def arena(self, size=1536):
        fd = os.memfd_create("arena")
        self.addCleanup(os.close, fd)
        os.ftruncate(fd, size)
        return fd

    def refused(self, answer, status, words):
        self.assertEqual((answer["type"], answer["status"]), ("error", status), answer)
        self.assertRegex(answer["message"], words)

    def test_a_call_from_hello_to_bye(self):
        self.start()
        answer = self.hello()
        self.assertEqual(answer, {"type": "hello", "protocol": 1, "hardware": "host",
                                  "driver": "d", "build": "b, profile vllm-xpu"})
        answer = self.ask(type="supports", call=self.call(), arena_bytes=1536)
        self.assertEqual(answer, {"type": "supports", "supported": True})
        fd = self.arena()
        answer = self.ask(fd, type="run", call=self.call(), arena_bytes=1536)
        self.assertEqual((answer["type"], answer["returned"]), ("done", ["g", "beta"]))
        self.assertGreater(answer["seconds"], 0)
        # All inputs 0: beta is sigmoid(0), g is -softplus(0).
        self.assertEqual(os.pread(fd, 24, 1280), b"\0\0\0\x3f" * 6)
        self.assertEqual(os.pread(fd, 4, 1024), bytes.fromhex("187231bf"))
        self.host.sendall(b'{"type":"bye","id":4}\n')
        self.assertEqual(self.process.wait(timeout=60), 0)

    def test_a_host_that_hangs_up_ends_the_worker(self):
        self.start()
        self.hello()
        self.host.close()
        self.assertEqual(self.process.wait(timeout=60), 0)

    def test_what_is_no_request_is_refused_by_name(self):
        self.start()
        self.host.sendall(b"Segmentation fault\n")
        self.assertEqual(self.read()["id"], 0)
        self.host.sendall(b'{"type":"hello"}\n')
        self.assertEqual(self.read()["id"], 0)
        self.refused(self.ask(type="supports", call=self.call(), arena_bytes=1536), 4,
                     "before hello")
        self.refused(self.hello(protocol=2), 6, "protocol 1")
        self.refused(self.hello(more=1), 4, "members")
        self.refused(self.hello("color=red"), 1, "color.*double, mode")
        self.hello()
        self.refused(self.hello(), 4, "already")
        self.refused(self.ask(type="sing"), 4, "sing")
        self.refused(self.ask(type="bye", now=1), 4, "bye")
        self.refused(self.ask(type="run", call=self.call(), arena_bytes=1536), 4, "descriptor")
        self.refused(self.ask(self.arena(), type="supports", call=self.call(),
                              arena_bytes=1536), 4, "descriptor")

    def test_calls_that_leave_their_arena_are_refused(self):
        self.start()
        self.hello()

        def supports(words, arena_bytes=1536, **changes):
            self.refused(self.ask(type="supports", call=self.call(**changes),
                                  arena_bytes=arena_bytes), 4, words)

        supports("beta: expected bytes inside", arena_bytes=1300)
        supports("a: expected bytes inside", a={"stride": [100000, 1]})
        supports("g: .*multiple of 4", g={"offset": 1026})
        supports("no type", b={"dtype": "fp8"})
        supports("stands there twice", b={"name": "a"})
        supports("expected 2 strides", a={"stride": [1]})
        supports("at least 0", a={"offset": 0, "stride": [-2, 1]})
        self.refused(self.ask(self.arena(1000), type="run", call=self.call(),
                              arena_bytes=1536), 4, "1536 but found 1000")

    def test_tensors_are_views_with_strides_on_one_storage(self):
        path = self.write("views.py", '''
import numpy
PROFILE = "vllm-xpu"
probe = supports = lambda *_: None
def gdn_gating(call):
    a, b, g = call["a"], call["b"], call["g"]
    assert a.stride() == (5, 1) and a.shape == (3, 2), a.stride()
    assert a.storage().data_ptr() == g.storage().data_ptr()
    assert str(a.dtype) == "torch.bfloat16" and call.numpy("a").dtype == numpy.uint16
    assert call.numpy("a").strides == (10, 2) and call.get("nothing") is None
    call.numpy("a")[2, 1] = 0x3f80
    assert a[2, 1] == 1
    a[2, 0] = 2
    g.fill_(3)
    assert not call.spec("a").is_contiguous and call.spec("g").is_contiguous
''')
        self.start(path)
        self.hello()
        fd = self.arena()
        call = self.call(a={"stride": [5, 1]})
        answer = self.ask(fd, type="run", call=call, arena_bytes=1536)
        self.assertEqual(answer["type"], "done", answer)
        self.assertEqual(os.pread(fd, 4, 512 + 20), b"\x00\x40\x80\x3f")
        self.assertEqual(os.pread(fd, 28, 1024), b"\0\0\x40\x40" * 6 + b"\0" * 4)

    def test_the_mirror_carries_guards_and_gaps_both_ways(self):
        """The host's memory stands for an accelerator: what counts is that it is a copy."""
        path = self.write("mirror.py", '''
PROFILE = "vllm-xpu"
supports = lambda call: None
probe = lambda: {"device": "cpu"}
def gdn_gating(call):
    flat = call.memory.open_torch()
    assert flat.data_ptr() != call.memory.host.data_ptr() and len(flat) == 1536
    assert call["a"].data_ptr() - flat.data_ptr() == 512
    assert call["a"].stride() == (5, 1) and int(flat[600]) == 77
    call["a"][2, 1] = 1
    flat[700] = 5
    assert int(call.memory.host[700]) == 0
    try:
        call.numpy("a")
    except TypeError:
        return {"beta": call["beta"] + 2}
''')
        self.start(path)
        self.hello()
        fd = self.arena()
        os.pwrite(fd, b"\x4d", 600)
        answer = self.ask(fd, type="run", call=self.call(a={"stride": [5, 1]}),
                          arena_bytes=1536)
        self.assertEqual((answer["type"], answer.get("returned")), ("done", ["beta"]), answer)
        self.assertEqual(os.pread(fd, 2, 512 + 22), b"\x80\x3f")
        self.assertEqual(os.pread(fd, 1, 700), b"\x05")
        self.assertEqual(os.pread(fd, 24, 1280), b"\0\0\0\x40" * 6)

    def test_what_is_missing_is_absent_by_its_own_words(self):
        for text in ("import a_package_that_nobody_has\n",
                     "PROFILE = 'x'\ndef probe():\n    import a_package_that_nobody_has\n"):
            self.start(self.write("absent.py", text))
            self.refused(self.hello(), 7, "^ModuleNotFoundError: No module named 'a_package")


class Run(Folder):
    """The same backend under the program that judges it."""

    def run_cases(self, mode, code, *more):
        report = os.path.join(self.folder, "report.json")
        result = subprocess.run(
            [PROGRAM, "run", "--device", f"bridge:{self.backend},mode={mode}", "--suite",
             "smoke", "--case", CASES, "--report", report, *more],
            env={**os.environ, "GDN_PYTHON": sys.executable}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False)
        self.assertEqual(result.returncode, code, result.stdout)
        self.stdout = result.stdout
        with open(report, encoding="utf-8") as file:
            return json.load(file)["cases"]

    def one_of_two(self, mode, verdict, *more):
        """-> the case that this mode costs; the other passes."""
        cases = self.run_cases(mode, 1, *more)
        self.assertEqual(sorted(c["verdict"] for c in cases), sorted(["pass", verdict]),
                         self.stdout)
        return next(c for c in cases if c["verdict"] == verdict)

    def test_a_right_backend_passes(self):
        cases = self.run_cases("good", 0)
        self.assertEqual([c["verdict"] for c in cases], ["pass", "pass"])
        # In place writes are judged with their guards; what is returned is not, and says so.
        self.assertEqual(cases[0]["returned"], "g,beta")
        self.assertIn("in 2 cases the op returned tensors of its own", self.stdout)

    def test_a_backend_that_declines_is_not_green(self):
        self.assertEqual(self.one_of_two("declines", "unsupported")["message"], "not this one")

    def test_a_backend_that_raises_fails_with_its_traceback(self):
        case = self.one_of_two("raises", "fail")
        self.assertRegex(case["message"], r"ArithmeticError: lost a warp \(mine.py:\d+\)")
        self.assertIn("Traceback", case["output"])
        self.assertIn("the kernel's own words", case["output"])

    def test_declining_after_the_promise_fails(self):
        self.assertEqual(self.one_of_two("late", "fail")["message"], "too large")

    def test_a_result_of_another_type_fails(self):
        self.assertRegex(self.one_of_two("dtype", "fail")["message"],
                         r"g: expected \[33, 6\] float32 but the op returned \[33, 6\] float16")

    def test_a_write_behind_the_end_fails(self):
        self.assertIn("g", self.one_of_two("stray", "fail")["message"])

    def test_a_death_in_the_driver_costs_one_case(self):
        self.assertIn("signal 11", self.one_of_two("dies", "crash")["message"])

    def test_an_answer_out_of_order_costs_one_case(self):
        self.one_of_two("twice", "crash")

    def test_a_backend_that_never_answers_costs_one_case(self):
        self.one_of_two("hangs", "hang", "--timeout", "3")

    def test_devices_lists_the_bridges(self):
        # An interpreter that ends at once: starting all of them would take its time.
        out = subprocess.run([PROGRAM, "devices"], stdout=subprocess.PIPE, text=True, check=True,
                             env={**os.environ, "GDN_PYTHON": "false"}).stdout
        shipped = sorted(os.path.basename(f)[:-3]
                         for f in glob.glob(os.path.join(BRIDGE, "backends/*.py")))
        self.assertEqual(re.findall(r"(?m)^bridge:(\S+) +unavailable ", out), shipped)

    def test_a_missing_package_is_named(self):
        result = subprocess.run(
            [PROGRAM, "run", "--device", "bridge:vllm_xpu", "--suite", "smoke"],
            env={**os.environ, "GDN_PYTHON": sys.executable}, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("No module named 'vllm_xpu_kernels'", result.stderr)

    def test_an_installed_tree_has_its_bridges(self):
        build = os.path.dirname(os.path.abspath(BIN))
        subprocess.run(["cmake", "--install", build, "--prefix", self.folder],
                       stdout=subprocess.DEVNULL, check=True)
        program = os.path.join(self.folder, "bin/gdn-conform")
        environment = {**os.environ, "GDN_PYTHON": sys.executable}
        subprocess.run([program, "new-worker", os.path.join(self.folder, "new")],
                       stdout=subprocess.DEVNULL, check=True)
        result = subprocess.run(
            [program, "run", "--device", "bridge:fastdeploy_xpu,double", "--suite",
             "fastdeploy-xpu", "--case", "gather_next_token/fastdeploy-xpu@b/*"],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False)
        self.assertEqual(result.returncode, 0, result.stdout)
        os.remove(os.path.join(self.folder, "share/gdn-conform/bridge/backends/fastdeploy_xpu.py"))
        result = subprocess.run([program, "run", "--device", "bridge:fastdeploy_xpu"],
                                stderr=subprocess.DEVNULL, check=False)
        self.assertEqual(result.returncode, 2)


class NewWorker(Folder):
    """What new-worker writes, as it is and with the README's kernels in it."""

    def judge(self, device):
        result = subprocess.run(
            [PROGRAM, "run", "--device", f"bridge:{device}", "--suite", "smoke", "--case", CASES],
            env={**os.environ, "GDN_PYTHON": sys.executable}, cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return result.returncode, result.stdout

    def new_worker(self, code=0):
        result = subprocess.run([PROGRAM, "new-worker", "new"], cwd=self.folder, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertEqual(result.returncode, code, result.stdout)
        return result.stdout

    def example(self, language):
        with open(os.path.join(BRIDGE, "README.md"), encoding="utf-8") as file:
            return re.search(rf"(?ms)^```{language}\n(.*?)^```", file.read()).group(1)

    def edit(self, name, change):
        path = os.path.join(self.folder, "new", name)
        with open(path, encoding="utf-8") as file:
            text = change(file.read())
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def test_the_readme_s_lines_pass_as_they_stand(self):
        lines = self.example("python")
        self.assertLessEqual(len(lines.splitlines()), 30)
        self.write("mine.py", lines)
        code, out = self.judge("./mine.py")
        self.assertEqual(code, 0, out)
        self.assertIn("planned 2 = 2 pass", out)

    def test_in_python(self):
        self.assertIn("bridge:new/worker.py", self.new_worker())
        code, out = self.judge("new/worker.py")
        self.assertEqual(code, 1, out)
        self.assertIn("NotImplementedError: gdn_gating is not filled in (worker.py:", out)
        kernel = re.search(r"(?ms)^def gdn_gating.*?\n(.*)", self.example("python")).group(1)
        self.edit("worker.py", lambda text: text.replace(
            '    raise NotImplementedError("gdn_gating is not filled in")\n', kernel))
        code, out = self.judge("new/worker.py")
        self.assertEqual(code, 0, out)

    def test_in_c(self):
        self.new_worker()
        build = [CC, "-O2", "-Wall", "-Wextra", "-Werror", "new/worker.c", "-o", "worker",
                 "-ljansson", "-lm"]
        subprocess.run(build, cwd=self.folder, check=True)
        code, out = self.judge("exec=./worker")
        self.assertEqual(code, 1, out)
        self.assertIn("gdn_gating is not filled in", out)
        self.assertIn("activations other than bf16", out)
        self.edit("worker.c", lambda text: re.sub(
            r"(?ms)^static const char \*gdn_gating.*?^}\n", lambda _: self.example("c"), text))
        subprocess.run(build, cwd=self.folder, check=True)
        code, out = self.judge("exec=./worker")
        self.assertIn("planned 2 = 1 pass + 1 unsupported", out)

    def test_what_is_there_is_left_alone(self):
        self.new_worker()
        self.edit("worker.py", lambda text: "mine")
        self.assertIn("new/worker.py: File exists", self.new_worker(2))
        self.edit("worker.py", lambda text: self.assertEqual(text, "mine") or text)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
