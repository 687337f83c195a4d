# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""python3 <this folder> NAME|FILE.py: serves a shipped backend, or one of your own."""
import importlib.util
import os
import sys
import traceback

BRIDGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
# This folder's own files are no modules; the bridge's come after everybody else's.
sys.path[0:1] = []
sys.path.append(BRIDGE)


class Missing:
    """Stands for a backend that cannot be imported, until hello is answered."""
    PROFILE = "none"

    def __init__(self, error):
        self.import_error = error


def load(path):
    spec = importlib.util.spec_from_file_location("gdn_backend", path)
    backend = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = backend
    try:
        spec.loader.exec_module(backend)
    except Exception as error:  # whatever it is made of is not here
        traceback.print_exc()
        return Missing(error)
    return backend


def main():
    if len(sys.argv) != 2:
        raise SystemExit("usage: python3 devices/bridge/gdn_worker NAME|FILE.py")
    path = sys.argv[1]
    if not path.endswith(".py"):
        path = os.path.join(BRIDGE, "backends", path + ".py")
    import gdn_worker
    gdn_worker.serve(load(path))


main()
