"""One logged answer as building sees it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.datasets.building.messages import Json, NotText, cleaned, conversation_of, key_of, with_system, written
from gateway.protocol.recipes import System
from judges.subject import Subject

ReadSubject = Callable[[bytes, bytes | None, int], Subject | None]
"""gateway/exchanges/subjects.py, which this folder does not import."""


@dataclass(frozen=True, slots=True)
class Call:
    """What the log knows of an exchange beside its bodies."""

    id: str
    served_model: str
    end_user: str | None
    metadata: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Bodies:
    request: bytes
    reply: bytes


@dataclass(frozen=True, slots=True)
class Logged:
    """One choice of one exchange, its messages as in training files."""

    call: Call
    choice_index: int
    messages: list[Json]
    """Before the answer, with the recipe's system prompt."""
    answer: Json
    tools: list[Json] = field(default_factory=list[Json])
    is_cut_off: bool = False
    """It ended at a limit of tokens, or a filter took it."""

    @property
    def text(self) -> str:
        return written(self.answer)

    @property
    def prompt(self) -> str:
        """The same for answers to the same prompt."""
        return key_of([self.messages, self.tools])

    @property
    def conversation(self) -> str:
        return conversation_of(self.messages, self.call.metadata)

    @property
    def user_turns(self) -> int:
        return sum(message["role"] == "user" for message in self.messages)


CUT_OFF = ("length", "content_filter")


def read(call: Call, bodies: Bodies, choice_index: int, subject: ReadSubject, system: System) -> Logged | None:
    """None when there is no such choice, it is no chat, or there is more than text in it."""
    found = subject(bodies.request, bodies.reply, choice_index)
    if found is None:
        return None
    try:
        messages = with_system([cleaned(message) for message in found.messages], system)
        answer = cleaned({"role": "assistant"} | found.answer)
    except NotText:
        return None
    return Logged(
        call=call,
        choice_index=choice_index,
        messages=messages,
        answer=answer | {"role": "assistant"},
        tools=found.tools,
        is_cut_off=found.finish_reason in CUT_OFF,
    )


def edited(logged: Logged, message: Mapping[str, Any]) -> Logged | None:
    """As a person wrote that it should have been. None: there is more than text in it."""
    try:
        answer = cleaned({"role": "assistant"} | dict(message)) | {"role": "assistant"}
    except NotText:
        return None
    answer.pop("name", None)
    return Logged(logged.call, logged.choice_index, logged.messages, answer, logged.tools)
