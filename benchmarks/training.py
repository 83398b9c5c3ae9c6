"""A fine-tuning job against the plain TRL script that anyone would write (plain_trl.py), side by side.

    .venv/bin/python benchmarks/training.py                      the starter model on the demo's data
    .venv/bin/python benchmarks/training.py --data FILE.jsonl    on other data (OpenAI's chat format)
    .venv/bin/python benchmarks/training.py --short              on short examples: packing against padding
    .venv/bin/python benchmarks/training.py --model DIR          another base model whose chat template has generation blocks

Both train the same LoRA adapter with the same batches, epochs and learning rate, one after the other, `--rounds` times,
in alternating order. Reported are medians and their ratio: tokens a second while training (padding not counted), and the
CPU seconds of the whole processes, which a busy machine disturbs least.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.contract import (
    CheckpointSaved,
    Started,
    StepMetrics,
    Succeeded,
    TrainingSpec,
    decode_event,
    decode_result,
    encode,
)

ROOT = Path(__file__).parents[1]
QUIET = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
QUIET |= {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True)
class Measured:
    tokens_per_second: float
    cpu_seconds: float
    loss: float


def run(*command: str) -> tuple[str, float]:
    """-> standard output, CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env={**os.environ, **QUIET}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-4000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def job(folder: Path, spec: TrainingSpec, data: Path) -> tuple[Measured, Started]:
    folder.mkdir()
    (folder / spec.training_file).write_bytes(data.read_bytes())
    (folder / "spec.json").write_bytes(encode(spec))
    _, cpu = run(sys.executable, "-m", "trainer", str(folder))
    events = [decode_event(line) for line in (folder / "events.jsonl").read_bytes().splitlines()]
    [started] = [event for event in events if isinstance(event, Started)]
    last = [event for event in events if isinstance(event, StepMetrics)][-1]
    saved = [event for event in events if isinstance(event, CheckpointSaved)][-1]
    result = decode_result((folder / "result.json").read_bytes())
    assert isinstance(result, Succeeded)
    # The plain script's clock stops once its last checkpoint is saved, so this one does, too.
    seconds = result.trained_tokens / last.tokens_per_second + saved.created_at - last.created_at
    return Measured(result.trained_tokens / seconds, cpu, last.metrics.train_loss or 0.0), started


def plain(folder: Path, spec: TrainingSpec, data: Path, started: Started, *, packing: bool) -> Measured:
    folder.mkdir()
    chosen = started.hyperparameters
    micro_batch = chosen.micro_batch or chosen.batch_size
    settings: dict[str, Any] = {
        "base_model": spec.base_model, "training_file": str(data), "cache": str(folder / "cache"),
        "output": str(folder / "output"), "n_epochs": chosen.n_epochs, "learning_rate": chosen.learning_rate,
        "micro_batch": micro_batch, "accumulation": chosen.batch_size // micro_batch, "packing": packing,
        "context_length": chosen.context_length, "seed": spec.seed, "lora_rank": chosen.lora_rank,
        "lora_alpha": chosen.lora_alpha,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    output, cpu = run(sys.executable, str(Path(__file__).with_name("plain_trl.py")), str(folder / "settings.json"))
    told = json.loads(output.splitlines()[-1])
    return Measured(started.trained_tokens / told["seconds"], cpu, told["loss"])


def short_examples(path: Path) -> Path:
    """Questions and answers of a few tokens, with now and then a long one: what packing is for."""
    lines = []
    for number in range(600):
        answer = " ".join(f"{number} and {step} make {number + step}." for step in range(60 if number % 40 == 0 else 1))
        messages = [{"role": "user", "content": f"Add {number}."}, {"role": "assistant", "content": answer}]
        lines.append(json.dumps({"messages": messages}))
    path.write_text("\n".join(lines) + "\n")
    return path


def show(name: str, ours: list[float], theirs: list[float]) -> None:
    one, other = statistics.median(ours), statistics.median(theirs)
    print(f"{name:26} job {one:10.1f}   plain script {other:10.1f}   ratio {one / other:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(ROOT / "trainer" / "starter" / "model"))
    parser.add_argument("--data", type=Path, default=ROOT / "deploy" / "demo" / "data" / "training.jsonl")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    pairs: list[tuple[Measured, Measured]] = []
    with tempfile.TemporaryDirectory(prefix="tuneway-benchmark-") as directory:
        folder = Path(directory)
        data = short_examples(folder / "short.jsonl") if given.short else given.data.resolve()
        spec = TrainingSpec(
            job_id="benchmark", base_model=given.model, n_epochs=given.epochs, batch_size=given.batch_size,
            packing="auto" if given.short else False,
        )  # fmt: skip
        _, started = job(folder / "first", spec, data)  # also warms the files
        for number in range(given.rounds):
            turns = {
                "job": lambda at=number: job(folder / f"job-{at}", spec, data)[0],
                "plain": lambda at=number: plain(folder / f"plain-{at}", spec, data, started, packing=False),
            }
            names = ("job", "plain") if number % 2 else ("plain", "job")
            done = {name: turns[name]() for name in names}
            pairs.append((done["job"], done["plain"]))
            print(f"round {number + 1}: {time.strftime('%H:%M:%S')}  {done}")
    chosen = started.hyperparameters
    print(f"{started.device}, {started.trained_tokens} tokens, {started.total_steps} steps, packing {chosen.packing}")
    show("tokens a second", *([each[at].tokens_per_second for each in pairs] for at in (0, 1)))
    show("CPU seconds", *([each[at].cpu_seconds for each in pairs] for at in (0, 1)))
    show("last training loss", *([each[at].loss for each in pairs] for at in (0, 1)))


if __name__ == "__main__":
    main()
