# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""With this folder on PYTHONPATH every Python process, an engine's workers too, starts the
capture that GDN_CAPTURE describes (../capture.py)."""
import os
import sys

if os.environ.get("GDN_CAPTURE"):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    import capture  # noqa: F401
