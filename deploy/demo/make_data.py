"""Writes the demo's data sets from data/facts.txt: `python -m deploy.demo.make_data`.

training.jsonl, validation.jsonl and heldout.jsonl hold the same facts of an invented shop, each asked in other words.
The order of the training lines is shuffled with a fixed seed, so the files come out the same every time.
"""

import json
import pathlib
import random
from collections.abc import Iterator
from typing import NamedTuple

DATA = pathlib.Path(__file__).parent / "data"
FACTS = DATA / "facts.txt"
FILES = {"+": "training.jsonl", "v": "validation.jsonl", "h": "heldout.jsonl"}


class Fact(NamedTuple):
    answer: str
    questions: tuple[tuple[str, str], ...]
    """Pairs of a mark (a key of FILES) and a question."""


def main() -> None:
    """Writes the three files."""
    facts = list(read_facts())
    for mark, name in FILES.items():
        lines = [
            chat_line(question, fact.answer) for fact in facts for kind, question in fact.questions if kind == mark
        ]
        random.Random(0).shuffle(lines)  # noqa: S311 - not a secret
        (DATA / name).write_text("".join(lines), encoding="utf-8")
        print(f"{name}: {len(lines)} lines")


def read_facts() -> Iterator[Fact]:
    """The blocks of facts.txt."""
    for block in FACTS.read_text(encoding="utf-8").split("\n\n"):
        marked = [(line[0], line[2:]) for line in block.splitlines() if not line.startswith("#")]
        if marked:
            (_, answer), *questions = marked
            yield Fact(answer, tuple(questions))


def chat_line(question: str, answer: str) -> str:
    """One line of a file in OpenAI's chat format."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages}, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
