#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at random moments of pull and of generate: what is left behind is whole, and the
next one succeeds and verifies.

Usage: test_store_kill.py BINDIR SOURCEDIR [--kills N] [--seed S]
"""
import argparse
import os
import random
import shutil
import subprocess
import tempfile
import time

from store_server import Nginx, sha256, write_index

BIG = 48 << 20


def run(program, arguments, env):
    return subprocess.run([program, *arguments], env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=600)


def kill_at(program, arguments, env, seconds):
    """True if it was still running."""
    process = subprocess.Popen([program, *arguments], env=env, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=seconds)
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True


def measure(program, arguments, env):
    start = time.monotonic()
    result = run(program, arguments, env)
    assert result.returncode == 0, result.stderr
    return time.monotonic() - start


def expect_whole(cache):
    blobs = os.path.join(cache, "gdn-conform/blobs")
    for name in os.listdir(blobs) if os.path.isdir(blobs) else []:
        if len(name) == 64:
            assert sha256(os.path.join(blobs, name)) == name, f"{name} is not what it says"


def kill_pulls(program, kills):
    """Each round starts from what the kills before left, until a pull got through."""
    root = tempfile.mkdtemp(prefix="gdn-kill-root-")
    cache = tempfile.mkdtemp(prefix="gdn-kill-cache-")
    for name in ("a.h5", "b.h5", "c.h5"):
        with open(os.path.join(root, name), "wb") as file:
            file.write(random.randbytes(BIG // 3))
    write_index(root, {"big": ["a.h5", "b.h5", "c.h5"]})
    server = Nginx(root, rate="12m")
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    env["XDG_CACHE_HOME"] = cache
    arguments = ["pull", server.url("slow/")]
    try:
        whole = measure(program, arguments, env)
        landed, tries, hit = 0, 0, False
        while landed < kills and tries < 5 * kills:
            if not hit or random.random() < 0.3:
                shutil.rmtree(os.path.join(cache, "gdn-conform"), ignore_errors=True)
            hit = kill_at(program, arguments, env, random.uniform(0.0, whole))
            landed, tries = landed + hit, tries + 1
            expect_whole(cache)
        result = run(program, arguments, env)
        assert result.returncode == 0, result.stderr
        for name in ("a.h5", "b.h5", "c.h5"):
            assert (sha256(os.path.join(result.stdout.strip(), name)) ==
                    sha256(os.path.join(root, name))), name
        left = [n for n in os.listdir(os.path.join(cache, "gdn-conform/blobs")) if len(n) > 64]
        assert not [n for n in left if n.endswith(".part")], left
        print(f"pull: killed {landed} times within {whole:.2f} s; the last pull succeeded and "
              "verified")
        assert landed == kills, "too few kills landed"
    finally:
        server.close()
        shutil.rmtree(root)
        shutil.rmtree(cache)


def kill_generates(program, kills):
    folder = tempfile.mkdtemp(prefix="gdn-kill-generate-")
    env = dict(os.environ)
    arguments = ["generate", "--suite", "smoke", "-o", folder]
    check = [*arguments, "--check"]
    try:
        whole = measure(program, arguments, env)
        landed, tries = 0, 0
        while landed < kills and tries < 5 * kills:
            if random.random() < 0.4:
                shutil.rmtree(folder)
                os.mkdir(folder)
            landed += kill_at(program, arguments, env, random.uniform(0.0, whole * 1.05))
            tries += 1
            names = {n for n in os.listdir(folder) if not n.endswith(".tmp")}
            assert names in (set(), {"smoke.h5"}, {"smoke.h5", "smoke.manifest.json"}), names
            if "smoke.manifest.json" in names:
                result = run(program, ["vectors", "diff", folder, folder], env)
                assert result.returncode == 0, result.stderr
        measure(program, arguments, env)
        measure(program, check, env)
        print(f"generate: killed {landed} times within {whole:.2f} s; the last one succeeded, "
              "and --check agrees")
        assert landed == kills, "too few kills landed"
    finally:
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin")
    parser.add_argument("source")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 100000)
    options = parser.parse_args()
    print(f"--seed {options.seed}")
    random.seed(options.seed)
    program = os.path.join(options.bin, "gdn-conform")
    kill_pulls(program, options.kills)
    kill_generates(program, options.kills)


if __name__ == "__main__":
    main()
