"""Training files for tests."""

import io
import json
from typing import Any

from gateway.datasets.validation import validate_file
from gateway.protocol.datasets import Finding, Method, Report


def chat(
    question: str = "Where is my parcel, please?", answer: str = "It is on its way.", **more: Any
) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **more}


def pair(question: str = "Where is it?", chosen: str = "It is here.", rejected: str = "No idea.") -> dict[str, Any]:
    return {
        "input": {"messages": [{"role": "user", "content": question}]},
        "preferred_output": [{"role": "assistant", "content": chosen}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
    }


def varied(count: int) -> list[dict[str, Any]]:
    """Examples with nothing to say against them."""
    return [
        chat(f"Where is the parcel with the number {number}, please, and when will it be here?", f"{spelt(number)} is on its way to you.")
        for number in range(count)
    ]  # fmt: skip


def spelt(number: int) -> str:
    """A number in letters only."""
    return " ".join("abcdefghij"[int(digit)] * 5 for digit in str(number))


def jsonl(*values: Any) -> bytes:
    return b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)


def report(content: bytes, method: Method | None = "supervised", **options: Any) -> Report:
    return validate_file(io.BytesIO(content), method, **options)


def finding(found: Report, code: str) -> Finding | None:
    return next((each for each in found.findings if each.code == code), None)
