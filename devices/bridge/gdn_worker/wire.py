# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""Lines of JSON over the socket that the host has left in GDN_WORKER_FD."""
import array
import json
import os
import socket

LINE_BYTES = 1 << 20


class Closed(Exception):
    """The host has hung up, or the stream is out of step: the worker ends."""


class Wire:
    def __init__(self):
        number = os.environ.get("GDN_WORKER_FD", "")
        if not number.isdigit():
            raise SystemExit("GDN_WORKER_FD is not set: this is a worker, gdn-conform starts it "
                             "(--device bridge:NAME, or bridge:exec=COMMAND)")
        self.socket = socket.socket(fileno=int(number))
        self.socket.set_inheritable(False)

    def receive(self):
        """-> (line, descriptor or None)."""
        line, fds = b"", []
        while not line.endswith(b"\n"):
            try:
                part, control, flags, _ = self.socket.recvmsg(
                    LINE_BYTES - len(line) + 1, socket.CMSG_SPACE(4 * 4), socket.MSG_CMSG_CLOEXEC)
            except ConnectionError as error:
                raise Closed from error
            for level, kind, data in control:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    numbers = array.array("i")
                    numbers.frombytes(data[:len(data) - len(data) % numbers.itemsize])
                    fds += numbers
            line += part
            if not part or len(line) > LINE_BYTES or len(fds) > 1 or b"\n" in line[:-1] or \
                    flags & socket.MSG_CTRUNC:
                for fd in fds:
                    os.close(fd)
                raise Closed
        return line, fds[0] if fds else None

    def send(self, answer):
        text = json.dumps(answer).encode() + b"\n"
        try:
            self.socket.sendall(text)
        except ConnectionError as error:
            raise Closed from error
