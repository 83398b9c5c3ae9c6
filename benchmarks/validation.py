"""How fast a training file is checked, and in how much memory.

    .venv/bin/python benchmarks/validation.py [--megabytes 400] [--characters 600] [--bad 0.001] [--model DIR]

Writes a synthetic file of conversations (one in twenty with a tool call, some not in English, a share of them broken),
checks it in a process of its own as a worker does, and prints MB/s, by the clock and of processor time, and the most
memory that the process had resident.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gateway.datasets.tokens import TokenCounter
from gateway.datasets.validation import validate_path

MB = 1024 * 1024
WORDS = [
    "order",
    "refund",
    "invoice",
    "parcel",
    "Tuesday",
    "please",
    "thank",
    "account",
    "password",
    "reset",
    "the",
    "a",
]
FOREIGN = (
    "Пожалуйста, проверьте мой заказ.",
    "注文の状況を教えてください。",
    "Où est mon colis ?",
    "¿Dónde está mi pedido?",
)
CALL = {"id": "call_1", "type": "function", "function": {"name": "find_order", "arguments": '{"number": 4711}'}}
TOOL = {"type": "function", "function": {"name": "find_order", "parameters": {"type": "object"}}}


def main() -> None:
    arguments = _arguments()
    if arguments.check:
        _check(arguments.check, arguments.model)
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "synthetic.jsonl"
        _write(path, arguments.megabytes * MB, arguments.characters, arguments.bad)
        command = [sys.executable, __file__, "--check", str(path)]
        subprocess.run([*command, *(["--model", arguments.model] if arguments.model else [])], check=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--characters", type=int, default=600, help="of a conversation, on average")
    parser.add_argument("--bad", type=float, default=0.001, help="share of broken lines")
    parser.add_argument("--model", default="", help="directory of a base model, for its tokenizer")
    parser.add_argument("--check", type=Path, help="only check this file")
    return parser.parse_args()


def _check(path: Path, model: str) -> None:
    before, counter = _resident(), TokenCounter.of(model)
    start, busy = time.perf_counter(), time.process_time()
    report = validate_path(path, counter=counter)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    size = path.stat().st_size / MB
    print(f"{size:.0f} MB, {report.examples:,} examples, {report.bad_examples:,} bad, {report.tokens.total:,} tokens")
    print(f"{seconds:.1f} s, {size / seconds:.0f} MB/s; {busy:.1f} s of processor time, {size / busy:.0f} MB/s of it")
    print(f"resident: {before:.0f} MB at the start, {_resident():.0f} MB at most")


def _resident() -> float:
    """The most that this process had, in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (MB if sys.platform == "darwin" else 1024)


def _write(path: Path, size: int, characters: int, bad: float) -> None:
    chance = random.Random(1)
    with path.open("wb") as file:
        while file.tell() < size:
            file.write(_line(chance, characters, bad))


def _line(chance: random.Random, characters: int, bad: float) -> bytes:
    if chance.random() < bad:
        return b'{"messages": [{"role": "bot", "content": "?"}]}\n'
    question = chance.choice(FOREIGN) if chance.random() < 0.1 else _text(chance, characters // 4)
    messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
    example: dict[str, Any] = {"messages": messages}
    if chance.random() < 0.05:
        messages.append({"role": "assistant", "tool_calls": [CALL]})
        messages.append({"role": "tool", "tool_call_id": "call_1", "content": "sent"})
        example["tools"] = [TOOL]
    messages.append({"role": "assistant", "content": _text(chance, characters * 3 // 4)})
    return json.dumps(example, ensure_ascii=False).encode() + b"\n"


def _text(chance: random.Random, characters: int) -> str:
    return " ".join(chance.choices(WORDS, k=max(1, round(chance.expovariate(6 / characters)))))


if __name__ == "__main__":
    main()
