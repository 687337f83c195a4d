# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""The worker protocol (devices/PROTOCOL.md) for backends in Python. See ../README.md."""
from .call import Call, Tensor, Unsupported, last_line
from .serve import serve

__all__ = ["Call", "Tensor", "Unsupported", "last_line", "serve"]
