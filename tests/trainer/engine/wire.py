"""Talking to an engine as raw HTTP, and a gate in front of its model that says when it may take a step."""

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import OpenAI

HELLO: Any = [{"role": "user", "content": "hello world"}]
PATIENCE = 60.0
CONTEXT = 256
"""Tokens of the nano model's context."""


@dataclass(frozen=True)
class RunningEngine:
    url: str
    engine: Any
    loop: asyncio.AbstractEventLoop


def post(served: RunningEngine, path: str, body: Any) -> tuple[int, str, bytes]:
    """(status, content type, body) of a POST."""
    connection = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=60)
    try:
        connection.request("POST", path, body if isinstance(body, bytes) else json.dumps(body))
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read()
    finally:
        connection.close()


def chunks_of(raw: bytes) -> list[Any]:
    """The JSON of every frame but the last, which must be [DONE]."""
    frames = raw.split(b"\n\n")
    assert frames[-1] == b""
    assert frames[-2] == b"data: [DONE]"
    assert all(frame.startswith(b"data: ") and b"\n" not in frame for frame in frames[:-1])
    return [json.loads(frame.removeprefix(b"data: ")) for frame in frames[:-2]]


def stream(served: RunningEngine, path: str = "/v1/chat/completions", **fields: Any) -> list[Any]:
    status, content_type, raw = post(served, path, {"model": "nano", "stream": True, **fields})
    assert (status, content_type) == (200, "text/event-stream; charset=utf-8")
    return chunks_of(raw)


def text_of(chunks: list[Any], index: int = 0) -> str:
    return "".join(
        choice["delta"].get("content", "")
        for chunk in chunks
        for choice in chunk["choices"]
        if choice["index"] == index
    )


def error_of(served: RunningEngine, path: str, body: Any) -> tuple[int, dict[str, Any]]:
    status, content_type, raw = post(served, path, body)
    assert content_type.startswith("application/json")
    error = json.loads(raw)["error"]
    assert list(error) == ["message", "type", "param", "code"]
    return status, error


class Gate:
    """The model, taking only as many steps as it is allowed to; it can also be told to fail."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._permits = threading.Semaphore(0)
        self._opened = True
        self._failing = 0
        self.steps = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, **fields: Any) -> Any:
        if not self._opened:
            self._permits.acquire()
        self.steps += 1
        if self._failing:
            self._failing -= 1
            raise RuntimeError("no memory left")
        return self._model(**fields)

    def close(self) -> None:
        self._permits, self._opened = threading.Semaphore(0), False

    def allow(self, steps: int) -> None:
        self._permits.release(steps)

    def open(self) -> None:
        self._opened = True
        self._permits.release(1000)

    def fail(self, times: int = 1) -> None:
        self._failing = times


def until(true: Callable[[], bool], gate: Gate | None = None) -> None:
    """Waits, letting the model take single steps: it takes orders between them."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        if gate is not None:
            gate.allow(1)
        time.sleep(0.01)


def ask(client: OpenAI, tokens: int, **fields: Any) -> str:
    answer = client.completions.create(
        **{"model": "nano", "prompt": "hello", "temperature": 0, **fields},
        max_tokens=tokens,
        extra_body={"ignore_eos": True},
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens == tokens * fields.get("n", 1)
    return answer.choices[0].text


class RawStream:
    """A streamed completion on a connection of its own, read chunk by chunk."""

    def __init__(self, url: str, model: str = "nano", tokens: int = 150, **fields: Any) -> None:
        body = {"model": model, "prompt": "hello", "temperature": 0, "stream": True, "ignore_eos": True, **fields}
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
        self._connection.request("POST", "/v1/completions", json.dumps({**body, "max_tokens": tokens}))

    def start(self) -> "RawStream":
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        self._response.readline()
        return self

    def rest(self) -> bytes:
        try:
            return self._response.read()
        finally:
            self._connection.close()

    def leave(self) -> None:
        self._response.close()
        self._connection.close()


def command(url: str, path: str, **body: Any) -> tuple[int, str]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
    try:
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def load(url: str, name: str, path: Path | str, **more: Any) -> tuple[int, str]:
    return command(url, "/v1/load_lora_adapter", lora_name=name, lora_path=str(path), **more)


def unload(url: str, name: str) -> tuple[int, str]:
    return command(url, "/v1/unload_lora_adapter", lora_name=name)


def text_in(raw: bytes) -> str:
    frames = [json.loads(frame[6:]) for frame in raw.split(b"\n\n") if frame.startswith(b"data: {")]
    return "".join(frame["choices"][0]["text"] for frame in frames)
