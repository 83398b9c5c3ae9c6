"""vLLM's server on a CPU, where calls of the base model stay the base model's: `python -P vllm_on_cpu.py ARGUMENTS`.

vLLM marks tokens that no adapter is for with the index -1 (vllm/lora/punica_wrapper/utils.py). Its kernels for GPUs pass them by;
those for CPUs take it for an index of Python (vllm/lora/ops/torch_ops/lora_ops.py, 0.32): once all `--max-loras` places are
taken, the base model answers with the adapter of the last place whenever an adapter answers beside it. Here such tokens get
nothing.

It runs in vLLM's environment, which need not have Tuneway: nothing of ours is imported. Processes that vLLM starts run the top of
this file, too.
"""

import runpy
from typing import Any

from vllm.lora.ops import torch_ops  # type: ignore[import-not-found]
from vllm.lora.ops.torch_ops import lora_ops  # type: ignore[import-not-found]

_shrink: Any = lora_ops.bgmv_shrink


def bgmv_shrink(inputs: Any, weights: Any, output: Any, indices: Any, scaling: float = 1.0) -> None:
    """The first half of what an adapter adds, [tokens, rank] in `output`; the second half multiplies it."""
    _shrink(inputs, weights, output, indices, scaling)
    output.mul_((indices >= 0).to(output.dtype).unsqueeze(1))


lora_ops.bgmv_shrink = torch_ops.bgmv_shrink = bgmv_shrink

if __name__ == "__main__":
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
