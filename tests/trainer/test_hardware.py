from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

import torch
from accelerate.utils import is_bf16_available

from trainer import hardware
from trainer.hardware import Device, Hardware

pytestmark = pytest.mark.train


def machine(device: Device = "cpu") -> Hardware:
    return Hardware(device=device, dtype=torch.float32, threads=2, name="a machine")


class TestMicroBatch:
    @pytest.mark.parametrize(
        ("batch_size", "longest", "micro_batch"),
        [(8, 100, 8), (8, 2_048, 4), (8, 3_000, 2), (8, 50_000, 1), (7, 2_048, 1), (12, 1_300, 6)],
    )
    def test_divides_the_batch_and_fits(self, batch_size: int, longest: int, micro_batch: int):
        assert machine().micro_batch(batch_size, longest) == micro_batch


class TestDetect:
    def test_a_cpu_trains_in_float32(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        found = hardware.detect()
        assert (found.device, found.dtype, found.threads) == ("cpu", torch.float32, 3)
        assert str(found) == "CPU, 3 threads (float32)"

    @pytest.mark.parametrize(("supported", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
    def test_cuda_trains_in_bfloat16_where_it_can(
        self, monkeypatch: pytest.MonkeyPatch, supported: bool, dtype: torch.dtype
    ):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA T4")
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=16_000))
        found = hardware.detect()
        assert (found.device, found.dtype, found.name, found.memory_bytes) == ("cuda", dtype, "NVIDIA T4", 16_000)

    @pytest.mark.parametrize(("supported", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
    def test_apple_gpus_too(self, monkeypatch: pytest.MonkeyPatch, supported: bool, dtype: torch.dtype):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        monkeypatch.setattr(hardware, is_bf16_available.__name__, lambda: supported)
        found = hardware.detect()
        assert (found.device, found.dtype) == ("mps", dtype)
