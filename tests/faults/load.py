"""Chats that go on while parts die: what each client saw complete, and what failed."""

import threading
from types import TracebackType
from typing import Any, Self

from openai import APIError, OpenAI

from deploy.demo.stack import DemoStack, Key
from tests.openai_sdk.stacks import connect, user

PAUSE_SECONDS = 0.05
ITSELF = {"x-tuneway-fallback": "off"}
"""A fine-tuned model that is not loaded must not seem to answer because its base does."""


def chat(client: OpenAI, model: str, *, stream: bool) -> str:
    """One call, read to its end; its request id. Raises openai.APIError."""
    ask: Any = {"model": model, "messages": user("Hello! Who are you?"), "temperature": 0, "max_tokens": 8}
    ask["extra_headers"] = ITSELF
    if not stream:
        reply = client.chat.completions.create(**ask)
        assert reply.choices[0].message.content
        return str(reply._request_id)
    raw = client.chat.completions.with_raw_response.create(**ask, stream=True)
    with raw.parse() as chunks:
        assert [chunk for chunk in chunks if chunk.choices[0].finish_reason]
    return str(raw.headers["x-request-id"])


class Load:
    """One thread a model, whole and streamed in turn. `with Load(...) as load:` stops it at the end."""

    def __init__(self, stack: DemoStack, key: Key, *models: str) -> None:
        self._stack, self._key = stack, key
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(model,)) for model in models]
        self.completed: dict[str, list[str]] = {model: [] for model in models}
        """Model -> request ids."""
        self.failed: dict[str, list[Exception]] = {model: [] for model in models}

    @property
    def seen(self) -> list[str]:
        """Every request id that completed."""
        return [name for names in self.completed.values() for name in names]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _call(self, model: str) -> None:
        with connect(self._stack, self._key.value) as client:
            stream = False
            while not self._stopping.wait(PAUSE_SECONDS):
                try:
                    self.completed[model].append(chat(client, model, stream=stream))
                except APIError as error:
                    self.failed[model].append(error)
                stream = not stream
