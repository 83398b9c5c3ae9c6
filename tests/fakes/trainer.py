"""A trainer that trains nothing but speaks trainer/contract.py: `python -P tests/fakes/trainer.py JOB_DIR`.

What it does is written in the file `trainer-mode` of the data directory (JOB_DIR/../..), read at its start:

    succeed     trains STEPS steps with a checkpoint each and leaves an adapter
    hold        the same, but after the first step it waits for the file JOB_DIR/go
    fail        ends with a result that says failed
    crash       ends after one step with status 3 and no result
    torn        the same, in the middle of a line
    deaf        waits for ever and does not listen to SIGTERM
    terminated  is killed by SIGTERM before it could listen
    broken      says that it has succeeded, in JSON that is none
    killed      ends after one step by SIGKILL
    crowded     ends as out of memory, as several devices do, while it takes more than one example at once
    stuck       ends with status 3 before its first step
    saves       like hold, but SIGTERM lets it do one more step, with a checkpoint, as the real trainer does

SIGTERM makes it end with status 143. JOB_DIR/starts.jsonl tells with which spec it was started.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from trainer.contract import (
    ADAPTER,
    CHECKPOINTS,
    EVENTS,
    RESULT,
    SPEC,
    STOPPED,
    CheckpointSaved,
    DataSummary,
    Event,
    Failed,
    Hyperparameters,
    Message,
    Metrics,
    Started,
    StepMetrics,
    Succeeded,
    decode_spec,
    encode,
)

STEPS = 3
NUMBERS = Hyperparameters(
    n_epochs=3,
    batch_size=4,
    learning_rate_multiplier=1.5,
    learning_rate=1e-3,
    lora_rank=8,
    lora_alpha=16,
    context_length=512,
    reasons={"n_epochs": "few examples", "training_type": "the base model is small"},
)


class FakeTrainer:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked_to_stop = False
        self.sequence = len((directory / EVENTS).read_bytes().splitlines()) if (directory / EVENTS).exists() else 0

    def tell(self, kind: type[Event], **fields: Any) -> None:
        self.sequence += 1
        with (self.directory / EVENTS).open("ab") as file:
            file.write(encode(kind(sequence=self.sequence, created_at=time.time(), **fields)) + b"\n")

    def done(self) -> int:
        """The step of the newest checkpoint."""
        steps = [int(path.name.removeprefix("step-")) for path in (self.directory / CHECKPOINTS).glob("step-*")]
        return max(steps, default=0)

    def run(self, mode: str) -> int:
        if mode == "stuck":
            self.crash(mode)
        resumed = self.done()
        spec = decode_spec((self.directory / SPEC).read_bytes())
        micro_batch = min(NUMBERS.batch_size, spec.largest_micro_batch or NUMBERS.batch_size)
        beta = 0.1 if spec.method == "dpo" else None
        numbers = msgspec.structs.replace(NUMBERS, micro_batch=micro_batch, beta=beta)
        summary = DataSummary(examples=10, tokens=100, label_tokens=50, truncated=0, skipped=0)
        started = {"hyperparameters": numbers, "training": summary, "total_steps": STEPS, "trained_tokens": 300}
        self.tell(Started, **started, device="none", resumed_step=resumed)
        if mode == "fail":
            message = "Line 3 holds\x00 nothing to learn from."
            self.tell(Message, level="error", message=message)
            return self.end(Failed(code="invalid_training_file", message=message, param="training_file"))
        if mode == "crowded" and micro_batch > 1:
            return self.end(Failed(code="out_of_memory", message="Too many.", too_many_at_once=micro_batch))
        for step in range(resumed + 1, STEPS + 1):
            self.train(step)
            if mode in ("crash", "torn", "killed"):
                self.crash(mode)
            while mode in ("hold", "saves", "deaf") and not self.asked_to_stop and not (self.directory / "go").exists():
                time.sleep(0.01)
            if self.asked_to_stop:
                if mode == "saves" and step < STEPS:
                    self.train(step + 1)
                return STOPPED
        return self.leave_adapter(mode)

    def train(self, step: int) -> None:
        metrics = Metrics(step=step, train_loss=1 / step, train_mean_token_accuracy=0.5)
        rates = {"learning_rate": 1e-3, "tokens_per_second": 10.0, "seconds_left": 60.0}
        self.tell(StepMetrics, metrics=metrics, total_steps=STEPS, **rates)
        leave_files(self.directory / CHECKPOINTS / f"step-{step}")
        self.tell(CheckpointSaved, path=f"{CHECKPOINTS}/step-{step}", step=step, epoch=step, metrics=metrics)

    def crash(self, mode: str) -> None:
        if mode == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "torn":
            with (self.directory / EVENTS).open("ab") as file:
                file.write(b'{"type":"message","sequence":99,"crea')
        print("the fake trainer's last words", flush=True)  # noqa: T201
        os._exit(3)

    def leave_adapter(self, mode: str) -> int:
        if mode == "broken":
            (self.directory / RESULT).write_bytes(b'{"status": "succ')
            return 0
        leave_files(self.directory / ADAPTER)
        metrics = Metrics(step=STEPS, train_loss=1 / STEPS)
        measured: Any = {"seconds": 0.5, "tokens_per_second": 10.0, "peak_memory_bytes": 1000}
        return self.end(Succeeded(output=ADAPTER, trained_tokens=300, steps=STEPS, metrics=metrics, **measured))

    def end(self, result: Succeeded | Failed) -> int:
        incomplete = self.directory / "result.tmp"
        incomplete.write_bytes(encode(result))
        incomplete.rename(self.directory / RESULT)
        return 0 if isinstance(result, Succeeded) else 1


def leave_files(directory: Path) -> None:
    """What looks like an adapter, with the state of an optimizer beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8}))
    (directory / "adapter_model.safetensors").write_bytes(b"weights")
    (directory / "optimizer.pt").write_bytes(b"state")


def main() -> int:
    directory = Path(sys.argv[1])
    mode = (directory.parent.parent / "trainer-mode").read_text()
    with (directory / "starts.jsonl").open("a") as file:
        device = os.environ.get("CUDA_VISIBLE_DEVICES")
        file.write(
            json.dumps(
                {"pid": os.getpid(), "at": time.time(), "device": device, **json.loads((directory / SPEC).read_text())}
            )
            + "\n"
        )
    if mode == "terminated":
        os.kill(os.getpid(), signal.SIGTERM)
    trainer = FakeTrainer(directory)

    def asked(*_: object) -> None:
        trainer.asked_to_stop = mode != "deaf"

    signal.signal(signal.SIGTERM, asked)
    return trainer.run(mode)


if __name__ == "__main__":
    sys.exit(main())
