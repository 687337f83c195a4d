# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""One call of one op: what a request says, and its tensors as views of the arena."""
import dataclasses
import math

SIZES = {"fp64": 8, "fp32": 4, "fp16": 2, "bf16": 2, "i64": 8, "i32": 4, "bool": 1}
# numpy knows no bf16: its bits as uint16.
NUMPY = {"fp64": "float64", "fp32": "float32", "fp16": "float16", "bf16": "uint16",
         "i64": "int64", "i32": "int32", "bool": "bool"}
TORCH = {"fp64": "float64", "fp32": "float32", "fp16": "float16", "bf16": "bfloat16",
         "i64": "int64", "i32": "int32", "bool": "bool"}


class Unsupported(Exception):
    """This call is not for this backend; the message says why."""


class BadCall(Exception):
    """A request that is not what devices/PROTOCOL.md says."""


def last_line(error):
    """The last line of what Python would print of an exception."""
    text = f"{type(error).__name__}: {error}".strip()
    return text.splitlines()[-1]


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Where a tensor lies: offset in bytes from the start of the arena, stride in elements."""
    name: str
    dtype: str
    offset: int
    shape: tuple
    stride: tuple

    @property
    def bytes(self):
        """From its first to behind its last element, gaps of a paged pool included."""
        if 0 in self.shape:
            return 0
        return SIZES[self.dtype] * (1 + sum((n - 1) * s
                                            for n, s in zip(self.shape, self.stride)))

    @property
    def is_contiguous(self):
        """Whether the elements follow each other, last dimension fastest."""
        return 0 in self.shape or self.bytes == SIZES[self.dtype] * math.prod(self.shape) and all(
            n == 1 or s == math.prod(self.shape[d + 1:])
            for d, (n, s) in enumerate(zip(self.shape, self.stride)))


def integers(value, what):
    if not isinstance(value, list) or not all(type(i) is int and i >= 0 for i in value):
        raise BadCall(f"{what}: expected a list of integers of at least 0 but found {value!r}")
    return tuple(value)


def read_tensor(json, arena_bytes):
    if not isinstance(json, dict) or set(json) != {"name", "dtype", "offset", "shape", "stride"}:
        raise BadCall(f"tensors: expected name, dtype, offset, shape, stride but found {json!r}")
    name, dtype = json["name"], json["dtype"]
    if dtype not in SIZES:
        raise BadCall(f"{name}: no type is named {dtype!r}")
    tensor = Tensor(name, dtype, json["offset"], integers(json["shape"], f"{name}.shape"),
                    integers(json["stride"], f"{name}.stride"))
    if len(tensor.shape) != len(tensor.stride):
        raise BadCall(f"{name}: expected {len(tensor.shape)} strides but found "
                      f"{len(tensor.stride)}")
    if type(tensor.offset) is not int or tensor.offset < 0 or \
            tensor.offset + tensor.bytes > arena_bytes:
        raise BadCall(f"{name}: expected bytes inside [0, {arena_bytes}) but found "
                      f"[{tensor.offset}, {tensor.offset} + {tensor.bytes})")
    if tensor.offset % SIZES[dtype]:
        raise BadCall(f"{name}: expected offset to be a multiple of {SIZES[dtype]} but found "
                      f"{tensor.offset}")
    return tensor


class Call:
    """What a backend's functions get. `call["q"]` is a torch tensor: a strided view of the
    arena, or of its mirror on the accelerator; `call.get("bias")` is None for an optional
    argument that the case does not pass; `call.numpy("q")` is a view for those without torch.
    `"bias" in call`, `call.spec("q").shape` and the rest work in supports() too, where there
    is no memory yet."""

    def __init__(self, json, arena_bytes):
        if not isinstance(json, dict) or set(json) != {"op", "conventions", "scalars", "tensors"}:
            raise BadCall("call: expected op, conventions, scalars, tensors but found " +
                          (", ".join(json) if isinstance(json, dict) else repr(json)))
        self.op = json["op"]
        self.conventions = json["conventions"]
        self.scalars = json["scalars"]
        self.arena_bytes = arena_bytes
        if not isinstance(self.op, str) or not isinstance(self.conventions, dict) or \
                not isinstance(self.scalars, dict) or not isinstance(json["tensors"], list):
            raise BadCall("call: expected a text, two objects and a list")
        self.tensors = {}
        for entry in json["tensors"]:
            tensor = read_tensor(entry, arena_bytes)
            if tensor.name in self.tensors:
                raise BadCall(f"{tensor.name} stands there twice")
            self.tensors[tensor.name] = tensor
        self.memory = None  # an arena.Arena while the call runs

    def __contains__(self, name):
        return name in self.tensors

    def spec(self, name):
        return self.tensors[name]

    def scalar(self, name, otherwise=None):
        return self.scalars.get(name, otherwise)

    def verify(self, name):
        """A convention of draft verification, as text."""
        return self.conventions["verify"][name]

    def unlike(self, **expected):
        """The first convention that is not (one of) what a backend obeys, as a reason to
        decline; None if all are. Values as in the profiles, as text:
        call.unlike(state_order="vk", conv_window=("sliding", "snapshot"))."""
        for name, values in expected.items():
            field, _, inner = name.partition("__")
            found = self.conventions[field][inner] if inner else self.conventions[field]
            values = (values,) if isinstance(values, str) else values
            if found not in values:
                return f"{name.replace('__', '.')} {found}: this op knows {' and '.join(values)}"
        return None

    def __getitem__(self, name):
        return self.memory.torch(self.tensors[name])

    def get(self, name):
        return self[name] if name in self.tensors else None

    def numpy(self, name):
        return self.memory.numpy(self.tensors[name])
