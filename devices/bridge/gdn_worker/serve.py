# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""The loop of a worker: hello, supports, run, bye."""
import ctypes
import json
import os
import sys
import time
import traceback

from .arena import Arena
from .call import BadCall, Call, Unsupported, last_line
from .wire import Closed, Wire

PROTOCOL = 1
ARG, FORMAT, DEVICE, ABI, UNSUPPORTED = 1, 4, 5, 6, 7  # gdn_status
RAISED = ARG  # the worker lives on; DEVICE would end it
MESSAGE_BYTES = 1000  # what the host keeps of one
DOUBLE = "op double, not run on hardware"


class Refusal(Exception):
    """An answer of type error."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def read_options(text, known):
    """"double=F,device=cuda:1" over the defaults in `known`; a bare word means 1."""
    if text.startswith("exec="):
        return known
    for item in filter(None, text.split(",")):
        name, _, value = item.partition("=")
        if name not in known:
            raise Refusal(ARG, f"no option is named \"{name}\"; there are " +
                          ", ".join(sorted(known)))
        known[name] = value or "1"
    return known


def load_file(path, variant):
    """A Python file that is on no path, run for what it registers."""
    import importlib.util
    spec = importlib.util.spec_from_file_location("gdn_op_double", path)
    module = importlib.util.module_from_spec(spec)
    module.VARIANT = variant
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)


class Worker:
    def __init__(self, backend, wire):
        self.backend, self.wire = backend, wire
        self.device = None  # where the mirror of the arena lives; None: in the host's memory
        self.open = False

    # ---- hello ----

    def load_double(self, choice):
        """The shipped double of this backend ("1") or somebody's own file, and behind an @
        which revision it plays."""
        choice, _, variant = choice.partition("@")
        if choice in ("1", ""):
            name = os.path.basename(self.backend.__file__)
            choice = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                  "doubles", name)
        if not os.path.isfile(choice):
            raise Refusal(ARG, f"double: there is no {choice}")
        load_file(choice, variant)

    def hello(self, request):
        if request.get("protocol") != PROTOCOL:
            raise Refusal(ABI, f"expected protocol {PROTOCOL} but found {request.get('protocol')}")
        expect(request, "device", "options", "protocol")
        if self.open:
            raise Refusal(FORMAT, "hello: the device is open already")
        missing = getattr(self.backend, "import_error", None)
        if missing:
            raise Refusal(UNSUPPORTED, last_line(missing))
        options = getattr(self.backend, "OPTIONS", {})
        known = {**options, "double": ""}
        double = read_options(request["options"], known)["double"]
        options.update(known)
        try:
            if double:
                self.load_double(double)
            found = dict(self.backend.probe() or {})
        except Refusal:
            raise
        except Exception as error:  # whatever is missing, it is not here
            traceback.print_exc()
            raise Refusal(UNSUPPORTED, last_line(error)) from error
        self.device = found.get("device")
        self.open = True
        profile = f"profile {self.backend.PROFILE}"
        build = ", ".join(filter(None, [found.get("build"), profile]))
        return {"type": "hello", "protocol": PROTOCOL,
                "hardware": DOUBLE if double else str(found.get("hardware", "host")),
                "driver": ", ".join(filter(None, [DOUBLE if double else "",
                                                  str(found.get("driver", ""))])),
                "build": build}

    # ---- supports ----

    def why_not(self, call):
        if not callable(getattr(self.backend, call.op, None)):
            return f"this backend has no {call.op}"
        if self.device and str(self.device).startswith("cuda"):
            import torch
            free, _ = torch.cuda.mem_get_info(self.device)
            if call.arena_bytes > free:
                return f"an arena of {call.arena_bytes} bytes; {free} are free"
        return self.backend.supports(call)

    def supports(self, request):
        expect(request, "call", "arena_bytes")
        call = Call(request["call"], request["arena_bytes"])
        try:
            reason = self.why_not(call)
        except Unsupported as error:
            reason = str(error)
        if reason:
            return {"type": "supports", "supported": False, "reason": str(reason)}
        return {"type": "supports", "supported": True}

    # ---- run ----

    def run(self, request, fd):
        expect(request, "call", "arena_bytes")
        if fd is None:
            raise Refusal(FORMAT, "run: no descriptor came with it")
        call = Call(request["call"], request["arena_bytes"])
        function = getattr(self.backend, call.op, None)
        if not callable(function):
            raise Refusal(UNSUPPORTED, f"this backend has no {call.op}")
        arena = call.memory = Arena(fd, call.arena_bytes, self.device)
        try:
            if self.device:
                arena.open_torch()
                arena.synchronize()
            start = time.perf_counter()
            returned = function(call)
            arena.synchronize()
            seconds = time.perf_counter() - start
            names = list(returned or {})
            for name in names:
                arena.write(call.spec(name), returned[name])
            arena.download()
        finally:
            call.memory = returned = None
            arena.close()
        answer = {"type": "done", "seconds": seconds}
        return {**answer, "returned": names} if names else answer

    # ---- the loop ----

    def lost_device(self):
        """A fault of an accelerator stays with the process that caused it."""
        if not self.device:
            return False
        try:
            import torch
            torch.zeros(1, device=self.device).cpu()
            return False
        except Exception:  # whatever it says
            return True

    def answer(self, line, fd):
        """-> (id, answer), or None after bye."""
        number = 0
        try:
            request = read_request(line)
            number = request.pop("id")
            kind = request.pop("type", None)
            if kind == "bye" and not request:
                return None
            if fd is not None and kind != "run":
                raise Refusal(FORMAT, "only run takes a descriptor")
            if kind == "hello":
                return number, self.hello(request)
            if kind not in ("supports", "run"):
                raise Refusal(FORMAT, f"expected a request hello, supports, run or bye but found "
                                      f"{kind!r}")
            if not self.open:
                raise Refusal(FORMAT, f"{kind} came before hello")
            return number, self.run(request, fd) if kind == "run" else self.supports(request)
        except Refusal as error:
            return number, refuse(error.status, str(error))
        except BadCall as error:
            return number, refuse(FORMAT, str(error))
        except Unsupported as error:
            return number, refuse(UNSUPPORTED, str(error))
        except Exception as error:  # the backend's own: the host keeps what is printed
            traceback.print_exc()
            return number, refuse(DEVICE if self.lost_device() else RAISED, where(error))

    def loop(self):
        while True:
            line, fd = self.wire.receive()
            try:
                answered = self.answer(line, fd)
            finally:
                if fd is not None:
                    os.close(fd)
            if answered is None:
                return
            # What was printed belongs to this request and must be there before the answer.
            sys.stdout.flush()
            sys.stderr.flush()
            ctypes.CDLL(None).fflush(None)
            self.wire.send({"id": answered[0], **answered[1]})


def refuse(status, message):
    text = message.encode("utf-8", "replace")[:MESSAGE_BYTES].decode("utf-8", "ignore")
    return {"type": "error", "status": status, "message": text}


def where(error):
    """An exception with the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return last_line(error) + place


def expect(request, *members):
    if set(request) != set(members):
        raise Refusal(FORMAT, f"expected the members {', '.join(members)} but found "
                              f"{', '.join(request)}")


def read_request(line):
    try:
        request = json.loads(line)
    except ValueError as error:
        raise Refusal(FORMAT, f"not a line of JSON: {error}") from error
    if not isinstance(request, dict) or type(request.get("id")) is not int:
        raise Refusal(FORMAT, "expected an object with an id")
    return request


def serve(backend):
    """Answers the host until it says bye. `backend` is a module or an object with PROFILE,
    probe(), supports(call) and one function an op; see ../README.md."""
    try:
        Worker(backend, Wire()).loop()
    except Closed:
        pass
