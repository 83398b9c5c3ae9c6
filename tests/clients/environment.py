"""A Python with LlamaIndex, beside the project's own: its OpenAI package wants an older `openai` than the tests do."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.locked import locked

REQUIREMENTS = Path(__file__).parent / "llama_index.txt"
CACHE = Path(__file__).parents[2] / ".venv" / "llama_index"
"""Ignored by git; a second run installs nothing."""
ENABLE = f"a package index in reach of pip, for tests/clients/{REQUIREMENTS.name}"
SECONDS = 300


class NoLlamaIndex(Exception):
    """The packages cannot be installed; the message says why."""


def python_with_llama_index() -> Path:
    """Its interpreter; the first call installs. Raises NoLlamaIndex."""
    wanted = f"{sys.version}\n{REQUIREMENTS.read_text()}"
    stamp = CACHE / "installed"
    python = CACHE / "bin" / "python"
    with locked(CACHE.with_suffix(".lock")):
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(CACHE, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(CACHE)])
            options = ["--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--no-deps", "--no-compile"]
            _run([str(python), "-m", "pip", "install", *options, "-r", str(REQUIREMENTS)])
            stamp.write_text(wanted)
    return python


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoLlamaIndex(f"{command[2]}: {error}") from None
    if done.returncode:
        raise NoLlamaIndex(f"{command[2]} ended with status {done.returncode}: {done.stderr.strip()[-500:]}")
