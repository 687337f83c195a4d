# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""Loads single files of a vLLM source tree where vLLM itself is not installed.

vLLM's Triton kernels need torch, triton and a handful of small helpers; `import vllm` needs
the whole engine. So the packages on the way to the kernels become empty ones that point into
the tree, and the helpers are answered here in the least way: what an NVIDIA or AMD GPU says."""
import contextlib
import os
import re
import sys
import types

PACKAGES = ("vllm", "vllm.utils", "vllm.v1", "vllm.v1.attention", "vllm.v1.attention.backends",
            "vllm.third_party", "vllm.third_party.flash_linear_attention",
            "vllm.third_party.flash_linear_attention.ops", "vllm.model_executor",
            "vllm.model_executor.layers", "vllm.model_executor.layers.fla",
            "vllm.model_executor.layers.fla.ops", "vllm.model_executor.layers.mamba",
            "vllm.model_executor.layers.mamba.ops")


class Platform:
    """Of vllm.platforms.current_platform, what the kernels' files ask."""

    def __getattr__(self, name):
        if not name.startswith(("is_", "has_")):
            raise AttributeError(f"a checkout of vLLM asks its platform for {name}")
        import torch
        hip = torch.version.hip is not None
        true = {"is_cuda_alike": True, "is_cuda": not hip, "is_rocm": hip}
        return lambda *_, **__: true.get(name, False)


def module(name, **members):
    made = types.ModuleType(name)
    made.__dict__.update(members)
    sys.modules[name] = made
    return made


def to_device(data, device=None, dtype=None, **_):
    return data.to(device=device, dtype=dtype)


def open_vllm(root):
    """Makes `import vllm...` find the kernels of the tree at `root`; returns its version."""
    if not os.path.isdir(os.path.join(root, "vllm")):
        raise ImportError(f"there is no vllm/ in {root}")
    import triton
    import triton.language as tl
    from triton.language.extra import libdevice
    for name in PACKAGES:
        module(name, __path__=[os.path.join(root, *name.split("."))])
    module("vllm.platforms", current_platform=Platform())
    module("vllm.triton_utils", triton=triton, tl=tl, tldevice=libdevice, HAS_TRITON=True)
    module("vllm.utils.gpu_sync_debug", gpu_sync_allowed=contextlib.nullcontext)
    module("vllm.utils.torch_utils", async_tensor_h2d=to_device)
    # Reserved ids (contract vllm_cpu_and_metadata 2).
    module("vllm.v1.attention.backends.utils", NULL_BLOCK_ID=0, PAD_SLOT_ID=-1)
    about = os.path.join(root, "PKG-INFO")
    if os.path.isfile(about):
        with open(about, encoding="utf-8") as file:
            found = re.search(r"^Version: (.+)$", file.read(), re.M)
        return f"{found.group(1)} (files of a source tree)"
    return "(files of a source tree without PKG-INFO)"
