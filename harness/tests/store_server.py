# SPDX-License-Identifier: Apache-2.0
"""Servers for the tests of the store: Debian's nginx on loopback with a certificate of its own
authority, and a small one that breaks off, forgets ranges and lies as it is told."""
import hashlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")

CONFIG = """
{user}
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 256; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_max_body_size 0;
  sendfile on;
  map $http_authorization $uploads {{ default 0; "Bearer {token}" 1; }}
  server {{
    listen 127.0.0.1:{port};
    listen 127.0.0.1:{tls_port} ssl;
    ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
    root {root};
    location /slow/ {{ alias {root}/; limit_rate {rate}; }}
    location /secret/ {{
      alias {root}/; auth_basic "vectors"; auth_basic_user_file {folder}/users;
    }}
    location /loop/ {{ return 302 /loop/again; }}
    location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }}
    location /ftp/ {{ return 302 ftp://127.0.0.1/index.json; }}
    location /file/ {{ return 302 file:///etc/passwd; }}
    location /broken/ {{ return 503; }}
    location /dav/ {{
      alias {folder}/dav/; dav_methods PUT; create_full_put_path on;
      if ($request_method = PUT) {{ set $put 1; }}
      if ($uploads = 0) {{ set $put "${{put}}0"; }}
      if ($put = 10) {{ return 401; }}
    }}
    location /downgrade/ {{ return 302 http://127.0.0.1:{port}/index.json; }}
  }}
  server {{
    listen 127.0.0.1:{expired_port} ssl;
    ssl_certificate {folder}/expired.pem; ssl_certificate_key {folder}/server.key;
    root {root};
  }}
}}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE)


def make_certificates(folder):
    """ca.pem, server.pem (valid), expired.pem (was valid for a day, long ago)."""
    at = lambda name: os.path.join(folder, name)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test authority",
            "-days", "2", "-keyout", at("ca.key"), "-out", at("ca.pem"))
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
            "-keyout", at("server.key"), "-out", at("server.csr"))
    with open(at("names"), "w", encoding="ascii") as file:
        file.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", at("server.csr"), "-CA", at("ca.pem"), "-CAkey",
            at("ca.key"), "-days", "2", "-extfile", at("names"), "-out", at("server.pem"))
    with open(at("ca.cnf"), "w", encoding="ascii") as file:
        file.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={at('db')}\nnew_certs_dir={folder}\n"
                   f"serial={at('serial')}\ndefault_md=sha256\npolicy=p\n"
                   "[p]\ncommonName=supplied\n")
    open(at("db"), "w").close()
    with open(at("serial"), "w", encoding="ascii") as file:
        file.write("77\n")
    openssl("ca", "-batch", "-config", at("ca.cnf"), "-cert", at("ca.pem"), "-keyfile",
            at("ca.key"), "-in", at("server.csr"), "-extfile", at("names"), "-startdate",
            "20200101000000Z", "-enddate", "20200102000000Z", "-out", at("expired.pem"))


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def write_index(root, suites, **changes):
    """index.json over {suite: [names]} in `root`; `changes` go into the first file."""
    entries = {}
    for suite, names in suites.items():
        files = [{"name": n, "size": os.path.getsize(os.path.join(root, n)),
                  "sha256": sha256(os.path.join(root, n))} for n in names]
        entries[suite] = {"files": files}
    next(iter(entries.values()))["files"][0].update(changes)
    with open(os.path.join(root, "index.json"), "w", encoding="utf-8") as file:
        json.dump({"schema": 1, "generator": "test", "suites": entries, "tombstones": {}}, file)


class Nginx:
    """nginx over `root`; restart() drops every connection."""

    def __init__(self, root, rate="6m", token="test-token-7c1f"):
        self.folder = tempfile.mkdtemp(prefix="gdn-nginx-")
        os.mkdir(os.path.join(self.folder, "dav"))
        make_certificates(self.folder)
        self.port, self.tls_port, self.expired_port = free_port(), free_port(), free_port()
        self.token = token
        with open(os.path.join(self.folder, "users"), "w", encoding="ascii") as file:
            file.write("ada:{PLAIN}pass word\n")
        config = CONFIG.format(folder=self.folder, root=root, port=self.port, rate=rate,
                               tls_port=self.tls_port, expired_port=self.expired_port,
                               token=token, user="user root;" if os.getuid() == 0 else "")
        with open(self.path("nginx.conf"), "w", encoding="utf-8") as file:
            file.write(config)
        self.process = None
        self.start()

    def path(self, name):
        return os.path.join(self.folder, name)

    def url(self, path=""):
        return f"http://127.0.0.1:{self.port}/{path}"

    def tls(self, path=""):
        return f"https://localhost:{self.tls_port}/{path}"

    def requests(self):
        with open(self.path("access.log"), encoding="utf-8") as file:
            return file.read()

    def start(self):
        self.process = subprocess.Popen([NGINX, "-p", self.folder, "-c",
                                         self.path("nginx.conf")], stderr=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError("nginx does not listen")

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=20)

    def restart(self):
        self.stop()
        self.start()

    def close(self):
        self.stop()
        shutil.rmtree(self.folder)


class Rude:
    """Serves one body as `behaviour(handler, number of the request)` likes; everything but the
    file is answered from `root`."""

    def __init__(self, root, behaviour):
        outer = self
        self.count = 0
        self.ranges = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with open(os.path.join(root, self.path.lstrip("/")), "rb") as file:
                    body = file.read()
                if self.path.endswith(".json"):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                    return
                outer.count += 1
                outer.ranges.append(self.headers.get("Range"))
                behaviour(self, body, outer.count)

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *arguments):
                pass  # the client hangs up: that is what some tests are about

        self.server = Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}/"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Witness:
    """Remembers (method, path, headers, body) of every request; a GET is redirected to `target`
    or, without one, answered with an empty 404."""

    def __init__(self, target=None):
        outer = self
        self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                size = int(self.headers.get("Content-Length") or 0)
                outer.seen.append((self.command, self.path, dict(self.headers),
                                   self.rfile.read(size)))
                if self.command == "POST":
                    self.send_response(201)
                elif target:
                    self.send_response(302)
                    self.send_header("Location", target + self.path.lstrip("/"))
                else:
                    self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, user=""):
        return f"http://{user}127.0.0.1:{self.server.server_address[1]}/"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
