# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors
"""gdn_gating in Triton, compiled ahead of time: `gating.py` writes gating.cubin for sm_90.

Needs Triton; running the package needs neither Triton nor Python.
"""
import os

os.environ["TRITON_DISABLE_LINE_INFO"] = "1"  # it would hold this file's path

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource


@triton.jit
def gating(a, b, A_log, dt_bias, g, beta, items, heads, BLOCK: tl.constexpr):
    item = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = item < items
    head = item % heads
    x = tl.load(a + item, inside, 0.0).to(tl.float32)
    x += tl.load(dt_bias + head, inside, 0.0).to(tl.float32)
    # log(1 + e) with e = exp(-|x|), whose rounding error (1 + e) - 1 shows, is put right.
    e = tl.exp(-tl.abs(x))
    sum = 1.0 + e
    log1p = tl.where(sum == 1.0, e, tl.log(sum) * (e / tl.where(sum == 1.0, 1.0, sum - 1.0)))
    softplus = tl.where(x > 20.0, x, tl.maximum(x, 0.0) + log1p)
    rate = tl.exp(tl.load(A_log + head, inside, 0.0).to(tl.float64))
    tl.store(g + item, (-rate * softplus.to(tl.float64)).to(tl.float32), inside)
    y = tl.load(b + item, inside, 0.0).to(tl.float32)
    tl.store(beta + item, 1.0 / (1.0 + tl.exp(-y)), inside)


def main():
    signature = {"a": "*bf16", "b": "*bf16", "A_log": "*fp32", "dt_bias": "*bf16",
                 "g": "*fp32", "beta": "*fp32", "items": "i32", "heads": "i32",
                 "BLOCK": "constexpr"}
    source = ASTSource(fn=gating, signature=signature, constexprs={"BLOCK": 128})
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32),
                              options={"num_warps": 4})
    folder = os.environ.get("OUT", os.path.dirname(os.path.abspath(__file__)))
    with open(os.path.join(folder, "gating.cubin"), "wb") as out:
        out.write(compiled.asm["cubin"])
    print(triton.__version__, compiled.metadata.name, compiled.metadata.shared,
          compiled.metadata.num_warps)


main()
