"""Tokens that no adapter is for, in vLLM's kernels for CPUs."""

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.vllm import SERVER_ON_CPU

pytestmark = pytest.mark.vllm

SCRIPT = """
import runpy, sys, torch
from vllm.lora.ops import torch_ops
ours = sys.argv[1] == "ours"
if ours:
    runpy.run_path(sys.argv[2])
    from vllm.lora.punica_wrapper import punica_cpu
    assert punica_cpu.bgmv_shrink is torch_ops.bgmv_shrink is torch_ops.lora_ops.bgmv_shrink
inputs, weights = torch.ones(3, 4), torch.ones(2, 1, 5, 4) * torch.tensor([1.0, 10.0])[:, None, None, None]
output = torch.full((3, 5), 7.0)
torch_ops.bgmv_shrink(inputs, weights, output, torch.tensor([0, -1, 1]), 2.0)
print(output[:, 0].tolist())
"""


def shrunk(whose: str) -> list[float]:
    """The first column, of tokens of the first adapter, of none, of the last one."""
    script = Path(SERVER_ON_CPU[-1])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, whose, str(script)], capture_output=True, text=True, check=True
    )
    return [float(each) for each in done.stdout.splitlines()[-1].strip("[]").split(",")]


def test_get_nothing_of_an_adapter() -> None:
    assert shrunk("ours") == [8.0, 0.0, 80.0]


def test_vllm_alone_gives_them_the_last_one() -> None:
    """Once this fails, deploy/vllm_on_cpu.py may go."""
    assert shrunk("vllm") == [8.0, 80.0, 80.0]
