"""The golden conversations as calls that ask for each of their answers."""

from typing import Any

import numpy as np

from tests.trainer.golden.families import CONVERSATIONS, HERE
from tests.trainer.golden.report import read, tokenized
from trainer.labels import IGNORED, ChatLabels

Call = dict[str, Any]


def is_refused(family: str, name: str) -> bool:
    """By training, as the golden file says."""
    return f"= {name}\n! refused" in (HERE / f"{family}.txt").read_text(encoding="utf-8")


def asked_before(labels: ChatLabels, name: str) -> list[tuple[Call, list[int]]]:
    """-> for each trained answer: the call that asks for it (`messages`, and `tools` where there are any), and the token
    ids that training has before it. Nobody can ask for the first message of a conversation. Raises TrainingFailed."""
    begun = [
        sequence.ids[:begin].tolist() for sequence in tokenized(labels, name) for begin in _begins(sequence.labels)
    ]
    trained = read(name).trained
    assert len(begun) == len(trained)
    return [(_call(name, index), ids) for index, ids in zip(trained, begun, strict=True) if index]


def _begins(labels: np.ndarray) -> list[int]:
    """Where the answers that carry loss begin."""
    carries = np.concatenate(([False], labels != IGNORED)).astype(int)
    return np.flatnonzero(np.diff(carries) == 1).tolist()


def _call(name: str, index: int) -> Call:
    conversation = CONVERSATIONS[name]
    functions = [{"type": "function", "function": function} for function in conversation.get("functions", ())]
    tools = conversation.get("tools") or functions
    return {"messages": conversation["messages"][:index], **({"tools": tools} if tools else {})}
