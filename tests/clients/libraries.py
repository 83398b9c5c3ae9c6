"""The client libraries: each runs the application in applications/ that is written for it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients import environment
from tests.clients.environment import NoLlamaIndex, python_with_llama_index
from tests.openai_node import node
from tests.openai_node.node import NoNode, find_node

APPLICATIONS = Path(__file__).parent / "applications"
SECONDS = 120


@dataclass(frozen=True)
class Application:
    command: list[str]

    def run(self, *arguments: str, **variables: str) -> Any:
        """What it prints."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        done = subprocess.run(
            [*self.command, *arguments], env=kept | variables, capture_output=True, text=True, timeout=SECONDS
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def langchain() -> Application:
    return Application([sys.executable, str(APPLICATIONS / "with_langchain.py")])


def llama_index() -> Application:
    """Skips the test where LlamaIndex cannot be installed, unless TUNEWAY_REQUIRE_LLAMA_INDEX=1."""
    try:
        python = python_with_llama_index()
    except NoLlamaIndex as reason:
        _skip(reason, environment.ENABLE, "TUNEWAY_REQUIRE_LLAMA_INDEX")
    return Application([str(python), str(APPLICATIONS / "with_llama_index.py")])


def openai_node(version: int) -> Application:
    """Skips the test where there is no Node.js or no npm registry, unless TUNEWAY_REQUIRE_NODE=1."""
    try:
        runtime = find_node()
        directory = runtime.install(version)
    except NoNode as reason:
        _skip(reason, node.ENABLE, "TUNEWAY_REQUIRE_NODE")
    script = shutil.copy(APPLICATIONS / "with_openai_node.mjs", directory)  # packages are found beside a script
    return Application([runtime.node, str(script)])


def _skip(reason: Exception, enable: str, required: str) -> None:
    if os.environ.get(required) == "1":
        raise reason
    pytest.skip(f"{reason}; what enables these tests: {enable}")


LIBRARIES: dict[str, Callable[[], Application]] = {
    "langchain": langchain,
    "llama_index": llama_index,
    "openai6": lambda: openai_node(6),
    "openai7": lambda: openai_node(7),
}
