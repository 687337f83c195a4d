# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""Every kernel compiles for a target, without a GPU, and spills no more than it may.

    test_compile.py COMPILE_KERNELS KERNELS_FOLDER VENDOR TARGET WARP [RTC]

Exit 77 where there is no such run-time compiler, or nothing that reads its code objects.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

PROGRAM, FOLDER, VENDOR, TARGET, WARP = sys.argv[1:6]
RTC = sys.argv[6] if len(sys.argv) > 6 else ""

# Bytes a thread that a kernel may keep in memory for want of registers. gdn_metadata's are
# its argument struct, which it indexes; the conv's history is indexed too.
# NVIDIA's compilers trade a few registers for more blocks at once.
SPILL = {"gk_chunk": 32, "gk_conv_keep": 24,
         **{f"gk_delta_{t}_4": 24 for t in ("FP32", "FP16", "BF16")}}
STACK = {"gk_metadata": 2048, **{name: 16 for name in SPILL}, "gk_conv_keep": 64}


def kernels_in_source():
    """Names of the kernels; a macro makes those of the recurrence."""
    text = "".join(open(os.path.join(FOLDER, name)).read()
                   for name in sorted(os.listdir(FOLDER)) if name.endswith(".hip"))
    names = set(re.findall(r"__global__ void\s+(?:__launch_bounds__\((?:[^()]|\([^()]*\))*\)[\s\\]+)?(\w+)", text))
    names.discard("gk_delta_")
    if TARGET == "gfx1030": # has no matrix units
        names -= {"gk_chunk", "gk_chunk_prepare"}
    parts = [1, 2, 4] + ([8] if WARP == "32" else [])
    names |= {f"gk_delta_{t}_{p}" for t in ("FP32", "FP16", "BF16") for p in parts}
    return names


def read_ptxas(log):
    """name -> (stack, spill) of ptxas -v."""
    found = {}
    for name, rest in re.findall(r"Function properties for (\w+)\n(.*)\n", log):
        stack, stores, loads = map(int, re.findall(r"(\d+) bytes", rest))
        found[name] = (stack, stores + loads)
    return found


def read_code_object(path):
    """name -> (stack, spill) of the notes of an AMD code object."""
    reader = next((r for r in ("llvm-readelf-15", "llvm-readelf", "llvm-readelf-14")
                   if shutil.which(r)), None)
    if not reader:
        print("no llvm-readelf here")
        sys.exit(77)
    notes = subprocess.run([reader, "--notes", path], check=True, capture_output=True,
                           text=True).stdout
    found = {}
    for kernel in re.split(r"\n  - \.a", notes)[1:]:
        field = lambda name: re.search(rf"\.{name}: +(\S+)", kernel).group(1)
        assert field("wavefront_size") == WARP, field("wavefront_size")
        # Scalar registers spill into lanes of vector registers, which is no memory.
        found[field("name")] = (int(field("private_segment_fixed_size")),
                                4 * int(field("vgpr_spill_count")))
    return found


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "kernels")
        command = [PROGRAM, TARGET, WARP, path, RTC]
        if VENDOR == "cuda":
            command.append("--ptxas-options=-v")
        environment = dict(os.environ)
        if RTC: # NVRTC's own second library lies beside it
            environment["LD_LIBRARY_PATH"] = os.path.dirname(RTC)
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode != 0:
            print(done.stdout, done.stderr)
            return done.returncode if done.returncode == 77 else 1
        found = read_ptxas(done.stdout) if VENDOR == "cuda" else read_code_object(path)
    print(done.stdout.splitlines()[-1])
    bad = kernels_in_source() ^ set(found)
    for name in sorted(bad):
        print(f"{name}: {'not in the code' if name not in found else 'not in the source'}")
    for name, (stack, spill) in sorted(found.items()):
        print(f"{name}: stack {stack}, spilled {spill} bytes a thread")
        if spill > SPILL.get(name, 0) or stack > STACK.get(name, 0):
            print(f"{name}: expected at most {STACK.get(name, 0)} and {SPILL.get(name, 0)}")
            bad.add(name)
    return 1 if bad else 0


sys.exit(main())
