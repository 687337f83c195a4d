#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""pull, push and run --vectors URL against nginx and against a server that misbehaves.

Usage: test_store.py BINDIR SOURCEDIR [unittest arguments]
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from store_server import Nginx, Rude, Witness, sha256, write_index

BIN, SOURCE = sys.argv[1:3]
PROGRAM = os.path.join(BIN, "gdn-conform")
GOLDEN = os.path.join(SOURCE, "vectors/golden")
SMOKE = ["smoke.h5", "smoke.manifest.json"]
BIG = 24 << 20
SECRET = "s3cret-token-51af"


class Case(unittest.TestCase):
    """A folder to serve, a cache, and the program with a clean environment."""

    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="gdn-store-")
        cls.addClassCleanup(shutil.rmtree, cls.root)
        for name in SMOKE:
            shutil.copy(os.path.join(GOLDEN, name), cls.root)
        random.seed(5)
        with open(os.path.join(cls.root, "big.h5"), "wb") as file:
            file.write(random.randbytes(BIG))
        with open(os.path.join(cls.root, "big.manifest.json"), "w", encoding="ascii") as file:
            file.write("{}")
        cls.write_index()

    @classmethod
    def write_index(cls, **changes):
        write_index(cls.root, {"big": ["big.h5", "big.manifest.json"], "smoke": SMOKE},
                    **changes)

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="gdn-cache-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.write_index()
        foreign = {"GDN_CONFORM_TOKEN", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"}
        self.env = {k: v for k, v in os.environ.items()
                    if not k.lower().endswith("_proxy") and k not in foreign}
        self.env.update(XDG_CACHE_HOME=self.folder, HOME=self.folder)

    def start(self, *arguments, **more):
        return subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env={**self.env, **more})

    def expect(self, code, *arguments, err=(), **more):
        process = self.start(*arguments, **more)
        out, errors = process.communicate(timeout=300)
        self.assertEqual(process.returncode, code, f"{arguments}\n{out}\n{errors}")
        for text in [err] if isinstance(err, str) else err:
            self.assertIn(text, errors)
        if code in (2, 3):
            self.assertEqual(len(errors.strip().splitlines()), 1, errors)
        return out.strip(), errors

    def blobs(self):
        folder = os.path.join(self.folder, "gdn-conform/blobs")
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

    def expect_big(self, folder):
        self.assertEqual(sha256(os.path.join(folder, "big.h5")),
                         sha256(os.path.join(self.root, "big.h5")))

    def expect_whole_cache(self):
        """Every file under its name has the digest that is its name."""
        folder = os.path.join(self.folder, "gdn-conform/blobs")
        for name in self.blobs():
            if not name.endswith(".part"):
                self.assertEqual(sha256(os.path.join(folder, name)), name)


class Server(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.nginx = Nginx(cls.root)
        cls.addClassCleanup(cls.nginx.close)

    def url(self, path=""):
        return self.nginx.url(path)


class Pull(Server):
    def test_files_arrive_and_come_from_the_cache_the_second_time(self):
        folder, err = self.expect(0, "pull", self.url(), "--suite", "smoke")
        self.assertIn("2 of them fetched", err)
        self.assertEqual(sorted(os.listdir(folder)), SMOKE)
        for name in SMOKE:
            self.assertEqual(sha256(os.path.join(folder, name)),
                             sha256(os.path.join(GOLDEN, name)))
        again, err = self.expect(0, "pull", self.url("index.json"), "--suite", "smoke")
        self.assertEqual(again, folder)
        self.assertIn("0 of them fetched", err)

    def test_offline_asks_nobody(self):
        self.expect(2, "pull", self.url(), "--offline", err="--offline")
        folder, _ = self.expect(0, "pull", self.url(), "--suite", "smoke")
        before = self.nginx.requests()
        self.assertEqual(self.expect(0, "pull", self.url(), "--suite", "smoke",
                                     "--offline")[0], folder)
        self.expect(2, "pull", self.url(), "--suite", "big", "--offline", err="big.h5")
        self.assertEqual(self.nginx.requests(), before)

    def test_run_pulls_by_itself(self):
        arguments = ["--suite", "smoke", "--case", "gdn_gating/vllm-xpu@b/*", "--report",
                     os.path.join(self.folder, "report.json")]
        self.expect(0, "run", "--vectors", self.nginx.tls(), "--cacert",
                    self.nginx.path("ca.pem"), *arguments)
        with open(arguments[-1], encoding="utf-8") as file:
            report = json.load(file)
        self.assertTrue(all(c["golden"] == "stored" for c in report["cases"]), report["cases"])
        self.expect(0, "run", "--vectors", self.nginx.tls(), "--offline", *arguments)
        self.expect(3, "run", "--vectors", "http://127.0.0.1:1/", *arguments,
                    err="127.0.0.1:1")

    def test_certificates(self):
        ca = self.nginx.path("ca.pem")
        self.expect(0, "pull", self.nginx.tls(), "--suite", "smoke", "--cacert", ca)
        self.expect(0, "pull", self.nginx.tls(), "--suite", "smoke", CURL_CA_BUNDLE=ca)
        self.expect(0, "pull", self.nginx.tls(), "--suite", "smoke", SSL_CERT_FILE=ca)
        self.expect(3, "pull", self.nginx.tls(), err="not trusted")
        self.expect(3, "pull", f"https://localhost:{self.nginx.expired_port}/", "--cacert", ca,
                    err=["not trusted", "expired"])
        self.expect(2, "pull", self.nginx.tls(), "--cacert", self.folder + "/none",
                    err="none")

    def test_basic_auth_from_url_and_netrc(self):
        port = self.nginx.port
        self.expect(2, "pull", self.url("secret/"), err=["401", self.url("secret/")])
        _, err = self.expect(0, "pull", f"http://ada:pass%20word@127.0.0.1:{port}/secret/",
                             "--suite", "smoke", "--verbose")
        self.assertNotIn("pass", err)
        _, err = self.expect(2, "pull", f"http://ada:wr0ng@127.0.0.1:{port}/secret/",
                             err="401")
        self.assertNotIn("wr0ng", err)
        with open(os.path.join(self.folder, ".netrc"), "w", encoding="ascii") as file:
            file.write('machine 127.0.0.1 login ada password "pass word"\n')
        self.expect(0, "pull", self.url("secret/"), "--suite", "smoke")

    def test_http_status_names_the_url(self):
        self.expect(2, "pull", self.url("nowhere/"),
                    err=["404", self.url("nowhere/index.json")])
        self.expect(3, "pull", self.url("broken/"), "--retries", "1", err="503")
        self.expect(3, "pull", "http://127.0.0.1:1/", "--retries", "0", err="127.0.0.1:1")

    def test_redirects(self):
        self.expect(0, "pull", self.url("moved/"), "--suite", "smoke")
        self.expect(2, "pull", self.url("loop/"), err="redirects")
        for path in ("ftp/", "file/"):
            self.expect(2, "pull", self.url(path), err="another scheme")
        self.expect(2, "pull", self.nginx.tls("downgrade/"), "--cacert",
                    self.nginx.path("ca.pem"), err="another scheme")

    def test_proxies_from_the_environment(self):
        proxy = self.url()  # nginx takes the absolute form and serves its own files
        self.expect(0, "pull", "http://vectors.invalid/", "--suite", "smoke",
                    http_proxy=proxy)
        self.assertIn("http://vectors.invalid/smoke.h5", self.nginx.requests())
        self.expect(3, "pull", "http://vectors.invalid/", "--retries", "0",
                    http_proxy=proxy, no_proxy="vectors.invalid", err="vectors.invalid")

    def test_bad_urls_and_suites(self):
        self.expect(2, "pull", "ftp://127.0.0.1/", err='scheme "ftp"')
        self.expect(2, "pull", self.url("?x=1"), err="'?'")
        self.expect(2, "pull", self.url(), "--suite", "smoek", err='did you mean "smoke"')
        self.assertEqual(self.expect(2, "pull", "vectors/golden")[0], "")

    def test_an_index_that_leaves_the_folder_is_refused(self):
        for change in ({"path": "../x"}, {"path": "/etc/passwd"}, {"path": "a/../../x"},
                       {"path": "http://127.0.0.1/x"}, {"name": "../x"}, {"name": "a/b"},
                       {"name": ".bashrc"}, {"name": ""}, {"size": -1}, {"size": "9"},
                       {"sha256": "abc"}, {"sha256": "../" + "0" * 61},
                       {"name": "smoke.h5"}):
            self.write_index(**change)
            self.expect(2, "pull", self.url(), err=["index.json", next(iter(change))])
        self.assertEqual(self.blobs(), [])
        for text in ("", "{", "[]", '{"schema": 2, "suites": {}}', '{"schema": 1}',
                     "[" * 100000, '{"schema": 1, "suites": {"../a": {"files": []}}}'):
            with open(os.path.join(self.root, "index.json"), "w", encoding="ascii") as file:
                file.write(text)
            self.expect(2, "pull", self.url(), err="index.json")

    def test_wrong_bytes_never_get_a_name(self):
        for change, words in (({"sha256": "0" * 64}, "sha256"), ({"size": BIG - 1}, "more"),
                              ({"size": BIG + 1}, f"found {BIG}")):
            self.expect(0, "pull", self.url(), "--suite", "smoke")
            before = self.blobs()
            self.write_index(**change)
            self.expect(2, "pull", self.url(), err=["big.h5", words, "dropped"])
            left = [b for b in self.blobs() if b not in before]
            self.assertFalse([b for b in left if b.endswith(".part")
                              and b.startswith(change.get("sha256", ""))
                              and "sha256" in change], left)
            self.expect_whole_cache()
            self.write_index()
            self.expect_big(self.expect(0, "pull", self.url())[0])
            shutil.rmtree(os.path.join(self.folder, "gdn-conform"))

    def test_damaged_cache_is_mended(self):
        folder, _ = self.expect(0, "pull", self.url())
        target = os.path.realpath(os.path.join(folder, "big.h5"))
        with open(target, "r+b") as file:
            file.seek(1 << 20)
            file.write(b"damage")
        self.expect(2, "pull", self.url(), "--offline", err="big.h5")
        self.expect_big(self.expect(0, "pull", self.url())[0])

    def test_resume_after_a_kill_asks_for_the_rest_only(self):
        process = self.start("pull", self.url("slow/"), "--suite", "big")
        part = os.path.join(self.folder, "gdn-conform/blobs",
                            sha256(os.path.join(self.root, "big.h5")) + ".part")
        while not os.path.exists(part) or os.path.getsize(part) < 1 << 20:
            time.sleep(0.02)
        process.kill()
        process.communicate()
        have = os.path.getsize(part)
        self.assertLess(have, BIG)
        folder, err = self.expect(0, "pull", self.url(), "--suite", "big")
        self.expect_big(folder)
        self.assertIn(" 206 ", self.nginx.requests().splitlines()[-2] +
                      self.nginx.requests().splitlines()[-1])
        self.assertIn(f"fetched, {(BIG - have + 2) / 1e6:.1f} MB", err)

    def test_resume_over_a_beginning_of_something_else(self):
        blobs = os.path.join(self.folder, "gdn-conform/blobs")
        os.makedirs(blobs)
        for junk in (5 << 20, BIG, BIG + 7):
            with open(os.path.join(blobs, sha256(os.path.join(self.root, "big.h5")) + ".part"),
                      "wb") as file:
                file.write(b"x" * junk)
            self.expect_big(self.expect(0, "pull", self.url(), "--suite", "big")[0])
            shutil.rmtree(os.path.join(self.folder, "gdn-conform/blobs"))
            os.makedirs(blobs)

    def test_two_processes_fetch_once(self):
        before = self.nginx.requests().count("GET /slow/big.h5")
        both = [self.start("pull", self.url("slow/"), "--suite", "big") for _ in range(2)]
        results = [p.communicate(timeout=300) for p in both]
        self.assertEqual([p.returncode for p in both], [0, 0], results)
        self.assertEqual(results[0][0], results[1][0])
        self.expect_big(results[0][0].strip())
        self.assertEqual(self.nginx.requests().count("GET /slow/big.h5"), before + 1)
        self.assertFalse([b for b in self.blobs() if b.endswith(".part")])

    def test_a_server_that_restarts_costs_a_retry(self):
        process = self.start("pull", self.url("slow/"), "--suite", "big")
        part = os.path.join(self.folder, "gdn-conform/blobs",
                            sha256(os.path.join(self.root, "big.h5")) + ".part")
        while not os.path.exists(part) or os.path.getsize(part) < 1 << 20:
            time.sleep(0.02)
        self.nginx.restart()
        out, err = process.communicate(timeout=300)
        self.assertEqual(process.returncode, 0, err)
        self.expect_big(out.strip())

    def test_full_disk(self):
        self.expect(2, "pull", self.url(), err="cannot make folder", XDG_CACHE_HOME="/proc")
        limit = ["bash", "-c", 'trap "" XFSZ; ulimit -f 4096; exec "$0" "$@"', PROGRAM]
        process = subprocess.run([*limit, "pull", self.url(), "--suite", "big"], env=self.env,
                                 stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.assertEqual(process.returncode, 2, process.stderr)
        self.assertIn("cannot write big.h5", process.stderr)
        self.assertFalse([b for b in self.blobs() if b.endswith(".part") and os.path.getsize(
            os.path.join(self.folder, "gdn-conform/blobs", b)) > 1 << 20])
        self.expect_big(self.expect(0, "pull", self.url(), "--suite", "big")[0])

    def test_no_bar_without_a_terminal(self):
        _, err = self.expect(0, "pull", self.url())
        self.assertNotIn("\r", err)
        out = subprocess.run(["script", "-qec", f"{PROGRAM} pull {self.url('slow/')}",
                              "/dev/null"], env={**self.env, "XDG_CACHE_HOME":
                                                 self.folder + "/2"},
                             stdout=subprocess.PIPE, timeout=300).stdout
        self.assertIn(b"\r\x1b[K[", out)
        self.assertIn(b"MB/s", out)


class Push(Server):
    def test_push_then_pull_and_the_token_stays_secret(self):
        token = self.nginx.token
        url = self.nginx.tls("dav/team/")
        ca = ["--cacert", self.nginx.path("ca.pem")]
        _, err = self.expect(2, "push", url, GOLDEN, *ca, GDN_CONFORM_TOKEN=SECRET,
                             err="401")
        self.assertNotIn(SECRET, err)
        out, err = self.expect(0, "push", url, GOLDEN, "--verbose", *ca,
                               GDN_CONFORM_TOKEN=token)
        self.assertNotIn(token, out + err)
        self.assertIn("PUT", self.nginx.requests())
        folder, _ = self.expect(0, "pull", url, *ca)
        for name in SMOKE:
            self.assertEqual(sha256(os.path.join(folder, name)),
                             sha256(os.path.join(GOLDEN, name)))
        self.assertNotIn(token, self.nginx.requests())
        for path, _, names in os.walk(self.folder):
            for name in names:
                with open(os.path.join(path, name), "rb") as file:
                    self.assertNotIn(token.encode(), file.read())

    def test_a_second_push_keeps_the_other_suites(self):
        target = os.path.join(self.nginx.folder, "dav", "shared")
        os.makedirs(target)
        for name in ("big.h5", "big.manifest.json"):
            shutil.copy(os.path.join(self.root, name), target)
        write_index(target, {"big": ["big.h5", "big.manifest.json"]})
        url = self.url("dav/shared/")
        self.expect(0, "push", url, GOLDEN, GDN_CONFORM_TOKEN=self.nginx.token)
        folder, _ = self.expect(0, "pull", url)
        self.assertEqual(sorted(os.listdir(folder)),
                         sorted(["big.h5", "big.manifest.json", *SMOKE]))

    def test_report(self):
        report = os.path.join(self.folder, "report.json")
        with open(report, "w", encoding="ascii") as file:
            file.write("{}")
        self.expect(0, "push", self.url("dav/reports/"), report,
                    GDN_CONFORM_TOKEN=self.nginx.token)
        with open(os.path.join(self.nginx.folder, "dav/reports/report.json"),
                  encoding="ascii") as file:
            self.assertEqual(file.read(), "{}")
        self.expect(2, "push", self.url("moved/x.json"), report, err="not redirected")

    def witness(self, target=None):
        server = Witness(target)
        self.addCleanup(server.close)
        return server

    def test_post_sends_the_file_and_the_token(self):
        server = self.witness()
        report = os.path.join(self.folder, "report.json")
        with open(report, "w", encoding="ascii") as file:
            file.write('{"verdict": "pass"}')
        self.expect(0, "push", server.url() + "upload", report, "--post",
                    GDN_CONFORM_TOKEN=SECRET)
        (method, path, headers, body), = server.seen
        self.assertEqual((method, path, body), ("POST", "/upload", b'{"verdict": "pass"}'))
        self.assertEqual(headers["Authorization"], "Bearer " + SECRET)
        self.expect(2, "push", server.url(), GOLDEN, "--post", err="--post")

    def test_secrets_stay_with_the_host_that_they_are_for(self):
        other = self.witness()
        first = self.witness(other.url())
        for user, more in (("", {"GDN_CONFORM_TOKEN": SECRET}), (f"ada:{SECRET}@", {})):
            _, err = self.expect(2, "pull", first.url(user), "--retries", "0",
                                 err="404", **more)
            self.assertNotIn(SECRET, err)
            self.assertIn("Authorization", first.seen[-1][2])
            self.assertEqual(other.seen[-1][1], "/index.json")
            self.assertNotIn("Authorization", other.seen[-1][2])

    def test_bad_tokens_and_damaged_vectors(self):
        self.expect(2, "push", "http://vectors.invalid/", GOLDEN, GDN_CONFORM_TOKEN=SECRET,
                    err="not sent over http")
        _, err = self.expect(2, "push", self.url("dav/"), GOLDEN,
                             GDN_CONFORM_TOKEN=SECRET + "\nHost: x", err="GDN_CONFORM_TOKEN")
        self.assertNotIn(SECRET, err)
        bad = os.path.join(self.folder, "bad")
        shutil.copytree(GOLDEN, bad)
        with open(os.path.join(bad, "smoke.h5"), "r+b") as file:
            file.seek(1 << 20)
            file.write(b"damage, twice over" * 100)
        self.expect(2, "push", self.url("dav/bad/"), bad, GDN_CONFORM_TOKEN=self.nginx.token,
                    err="smoke.h5")
        self.assertFalse(os.path.exists(os.path.join(self.nginx.folder, "dav/bad")))


class Misbehaviour(Case):
    """What no well-configured server does."""

    def pull(self, behaviour, code, *arguments, err=()):
        server = Rude(self.root, behaviour)
        self.addCleanup(server.close)
        folder, _ = self.expect(code, "pull", server.url(), "--suite", "big", *arguments,
                                err=err)
        return folder, server

    def test_breaks_off_again_and_again(self):
        def behaviour(handler, body, _):
            first = int((handler.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
            handler.send_response(206 if first else 200)
            if first:
                handler.send_header("Content-Range", f"bytes {first}-{len(body)-1}/{len(body)}")
            handler.send_header("Content-Length", str(len(body) - first))
            handler.end_headers()
            handler.wfile.write(body[first:first + (9 << 20)])
            handler.close_connection = True
        folder, server = self.pull(behaviour, 0, "--retries", "1")
        self.expect_big(folder)
        self.assertEqual(server.count, 3)
        self.assertEqual(server.ranges, [None, f"bytes={9 << 20}-", f"bytes={18 << 20}-"])

    def test_forgets_ranges(self):
        def behaviour(handler, body, count):
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body[:3 << 20] if count == 1 else body)
            handler.close_connection = True
        self.expect_big(self.pull(behaviour, 0)[0])

    def test_lies_about_the_length(self):
        def behaviour(handler, body, _):
            handler.send_response(200)
            handler.send_header("Connection", "close")
            handler.end_headers()
            handler.wfile.write(body + b"and more")
            handler.close_connection = True
        self.pull(behaviour, 2, err=["big.h5", "more"])
        self.expect_whole_cache()

    def test_one_wrong_bit(self):
        def behaviour(handler, body, _):
            body = bytearray(body)
            body[BIG // 2] ^= 1
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
        self.pull(behaviour, 2, err=["big.h5", "sha256"])
        # The manifest's transfer, given up beside it, may stand half done.
        self.assertNotIn(sha256(os.path.join(self.root, "big.h5")) + ".part", self.blobs())
        self.expect_whole_cache()

    def test_busy_at_first(self):
        def behaviour(handler, body, count):
            handler.send_response(503 if count < 3 else 200)
            handler.send_header("Content-Length", "0" if count < 3 else str(len(body)))
            handler.end_headers()
            handler.wfile.write(b"" if count < 3 else body)
        self.expect_big(self.pull(behaviour, 0)[0])

    def test_falls_silent(self):
        def behaviour(handler, body, _):
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body[:1000])
            handler.wfile.flush()
            time.sleep(8)
        self.pull(behaviour, 3, "--stall", "1", "--retries", "0", err="big.h5")
        self.expect_whole_cache()


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
