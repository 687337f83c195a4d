# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""The memory of a case: a mapped file, and its mirror on an accelerator.

The mirror is one buffer, uploaded whole and downloaded whole, so that guards, gaps of paged
pools and foreign slots reach the device and what a kernel wrote there by mistake comes back.
torch is imported by who asks for its tensors, numpy by who asks for its arrays."""
import mmap
import os

from .call import NUMPY, SIZES, TORCH, BadCall


class Arena:
    def __init__(self, fd, size, device):
        found = os.fstat(fd).st_size
        if found != size:
            raise BadCall(f"run: expected a file of arena_bytes = {size} but found {found}")
        self.size, self.device = size, device
        self.map = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self.host = self.flat = None

    def open_torch(self):
        if self.flat is None:
            import torch
            self.host = torch.frombuffer(self.map, dtype=torch.uint8)
            self.flat = self.host if self.device is None else \
                self.host.to(self.device, copy=True)
        return self.flat

    def torch(self, tensor):
        import torch
        flat = self.open_torch()
        size = SIZES[tensor.dtype]
        whole = flat[tensor.offset:self.size - (self.size - tensor.offset) % size]
        typed = whole.view(getattr(torch, TORCH[tensor.dtype]))
        return typed.as_strided(tensor.shape, tensor.stride)

    def numpy(self, tensor):
        import numpy
        if self.flat is not None and self.flat is not self.host:
            raise TypeError(f"{tensor.name}: numpy sees the host's memory, and this case runs "
                            f"on {self.device}")
        count = tensor.bytes // SIZES[tensor.dtype]
        flat = numpy.frombuffer(self.map, NUMPY[tensor.dtype], count, tensor.offset)
        strides = [s * SIZES[tensor.dtype] for s in tensor.stride]
        return numpy.lib.stride_tricks.as_strided(flat, tensor.shape, strides)

    def write(self, tensor, value):
        """A result that the op returned, into the place that the case has for it. Neither
        shapes nor types are bent: a wrong one is a finding."""
        expected = (list(tensor.shape), TORCH[tensor.dtype])
        found = (list(value.shape), str(value.dtype).replace("torch.", ""))
        if hasattr(value, "data_ptr"):
            if found == expected:
                self.torch(tensor).copy_(value)
        elif found == (expected[0], NUMPY[tensor.dtype]):
            self.numpy(tensor)[...] = value
            return
        if found != expected:
            raise TypeError(f"{tensor.name}: expected {expected[0]} {expected[1]} but the op "
                            f"returned {found[0]} {found[1]}")

    def synchronize(self):
        if self.flat is not None and self.flat is not self.host:
            import torch
            module = getattr(torch, self.flat.device.type)
            getattr(module, "synchronize", lambda _: None)(self.flat.device)

    def download(self):
        if self.flat is not None and self.flat is not self.host:
            self.host.copy_(self.flat)

    def close(self):
        self.host = self.flat = None
        try:
            self.map.close()
        except BufferError:
            pass  # a backend keeps a view; the mapping ends with it
