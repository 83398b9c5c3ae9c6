"""The two doors to the world, injected by whoever grades: asking a model, and running code in a sandbox."""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from judges.grade import Tokens


@dataclass(frozen=True, slots=True)
class Question:
    """A chat completion that a grader needs."""

    model: str
    messages: list[dict[str, Any]]
    """OpenAI's chat messages, text only."""
    schema: dict[str, Any]
    """JSON Schema of the wanted answer. A hint: a server that knows no structured output may leave it out."""
    sampling: dict[str, Any] = field(default_factory=dict[str, Any])
    """More parameters of the chat completion: temperature, seed, ..."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said."""

    text: str
    refusal: str | None
    finish_reason: str | None
    model: str
    tokens: Tokens


class AskFailed(Exception):
    """The model could not be asked: its server broke, was away, or did not take the question."""


class Ask(Protocol):
    """Asks a model. Raises AskFailed."""

    async def __call__(self, question: Question) -> Answer: ...


@dataclass(frozen=True, slots=True)
class SandboxEnd:
    """How a run of the operator's sandbox command ended."""

    stdout: bytes = b""
    status: int | None = None
    """Exit status, negative for a signal; None when the command could not be started."""
    stopped: Literal["timeout", "output"] | None = None
    """Why it was killed, if it was."""


class Sandbox(Protocol):
    """Runs `judges/python_runner.py` behind the operator's isolation with `request` on its stdin."""

    async def __call__(self, request: bytes) -> SandboxEnd: ...
