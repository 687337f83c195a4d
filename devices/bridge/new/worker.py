# SPDX-License-Identifier: Apache-2.0
"""Your kernel, judged. Fill in gdn_gating, then the other ops, then

    gdn-conform run --device bridge:./worker.py --suite smoke --case 'gdn_gating/vllm-xpu*'

`gdn-conform list ops` names the ops; gdn/call.h says what their tensors are, gdn/conventions.h
what the conventions mean. The bridge's README says what else `call` can tell."""
import torch

PROFILE = "vllm-xpu"  # whose conventions you obey: gdn-conform list profiles


def probe():
    """Who answers. Raise, and the device is absent for that reason. With "device": "cuda:0" the
    tensors of a call are views of one buffer there."""
    return {"hardware": "host", "driver": f"torch {torch.__version__}", "build": "0"}


def supports(call):
    """A reason to decline, or None. What is not declined must be right: reports show both."""
    return call.unlike(beta_storage="fp32", beta_tail="as_others", softplus_beta="1")


def gdn_gating(call):
    """A_log [HV] fp32, dt_bias [HV], a, b [N,HV] -> g, beta [N,HV] fp32:
    g = -exp(A_log) softplus(a + dt_bias), beta = sigmoid(b)."""
    raise NotImplementedError("gdn_gating is not filled in")
