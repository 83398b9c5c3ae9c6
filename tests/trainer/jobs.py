"""Training examples and job directories."""

import json
from pathlib import Path
from typing import Any


def chat(*turns: str, **fields: Any) -> dict[str, Any]:
    """chat("hello", "hi") is a question and its answer."""
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)], **fields}


def write_jsonl(path: Path, examples: list[Any]) -> Path:
    path.write_text("".join(json.dumps(example) + "\n" for example in examples))
    return path


THINGS = ["sky", "grass", "rose", "sea", "sun", "snow", "coal", "leaf", "brick", "sand", "plum", "lemon"]
COLOURS = ["blue", "green", "red", "blue", "yellow", "white", "black", "green", "red", "brown", "purple", "yellow"]
COLOUR_CHATS = [
    chat(f"what is the colour of {thing}?", f"It is {colour}.") for thing, colour in zip(THINGS, COLOURS, strict=True)
]


def pair(question: str, preferred: str, rejected: str) -> dict[str, Any]:
    """Two answers to one question."""
    return {
        "input": {"messages": [{"role": "user", "content": question}]},
        "preferred_output": [{"role": "assistant", "content": preferred}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
    }


COLOUR_PAIRS = [
    pair(f"what is the colour of {thing}?", f"It is {colour}.", f"I think, user, that the {thing} is {colour}.")
    for thing, colour in zip(THINGS, COLOURS, strict=True)
]


def write_job(
    directory: Path,
    base_model: Path,
    training: list[Any] = COLOUR_CHATS,
    validation: list[Any] | None = None,
    **spec: Any,
) -> Path:
    """A job directory with twelve training examples, or with those given; `spec` are fields of its TrainingSpec."""
    directory.mkdir()
    fields = {"job_id": "ftjob-1", "base_model": str(base_model), **spec}
    write_jsonl(directory / "training.jsonl", training)
    if validation is not None:
        fields["validation_file"] = write_jsonl(directory / "validation.jsonl", validation).name
    (directory / "spec.json").write_text(json.dumps(fields))
    return directory
