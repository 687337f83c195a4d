#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Throughput of pull on loopback against curl's own: alternating pairs in one run, from one
nginx, onto one disk. pull hashes what it fetches; curl does not.

Usage: bench_pull.py BINDIR [--megabytes 1000] [--files 4] [--pairs 9] [--tls]
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../harness/tests"))
from store_server import Nginx, write_index  # noqa: E402


def timed(command, env):
    start = time.monotonic()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    return time.monotonic() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin")
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    names = [f"part{i}.h5" for i in range(options.files)]
    root, target = tempfile.mkdtemp(), tempfile.mkdtemp()
    for name in names:
        with open(os.path.join(root, name), "wb") as file:
            for _ in range(options.megabytes // options.files):
                file.write(os.urandom(1000000))
    write_index(root, {"big": names})
    server = Nginx(root)
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    env.update(XDG_CACHE_HOME=target, CURL_CA_BUNDLE=server.path("ca.pem"))
    base = server.tls() if options.tls else server.url()
    curl = ["curl", "-sS", "--parallel", "--parallel-max", "4"]
    for name in ["index.json", *names]:
        curl += ["-o", os.path.join(target, name), base + name]
    pull = [os.path.join(options.bin, "gdn-conform"), "pull", base]
    ratios, rates = [], ([], [])
    try:
        for pair in range(options.pairs + 1):  # the first one warms up
            seconds = []
            for command in (pull, curl) if pair % 2 else (curl, pull):
                shutil.rmtree(target)
                os.mkdir(target)
                os.sync()
                seconds.append((command is pull, timed(command, env)))
            of_pull, of_curl = (dict(seconds)[key] for key in (True, False))
            if pair:
                ratios.append(of_curl / of_pull)
                rates[0].append(options.megabytes / of_pull)
                rates[1].append(options.megabytes / of_curl)
        print(f"{options.megabytes} MB in {options.files} files, "
              f"{'https' if options.tls else 'http'}, {options.pairs} pairs: pull "
              f"{statistics.median(rates[0]):.0f} MB/s, curl "
              f"{statistics.median(rates[1]):.0f} MB/s; pull/curl median "
              f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    finally:
        server.close()
        shutil.rmtree(root)
        shutil.rmtree(target)


if __name__ == "__main__":
    main()
