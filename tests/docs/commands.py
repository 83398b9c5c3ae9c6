"""The commands that documents show, as a shell would see them."""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(document: Path) -> list[str]:
    """What stands between ```sh or ```bash and ```."""
    return re.findall(r"^```(?:sh|bash)\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)


def commands(block: str) -> list[list[str]]:
    """Words of each command; one goes on over lines by a backslash or within quotes."""
    found: list[list[str]] = []
    text = ""
    for line in block.replace("\\\n", " ").splitlines():
        text = f"{text}\n{line}".lstrip("\n")
        try:
            words = shlex.split(text, comments=True)
        except ValueError:  # a quotation that has not ended
            continue
        if words:
            found.append(words)
        text = ""
    assert not text, f"this has no end: {text}"
    return found


def of_tuneway(document: Path) -> list[list[str]]:
    """Arguments of the `tuneway` commands in the blocks."""
    return _of_tuneway(command for block in blocks(document) for command in commands(block))


def named(document: Path) -> list[list[str]]:
    """The same of those that the text names, often without what they need."""
    texts = re.findall(r"`((?:\.venv/bin/)?tuneway [^`\n]*)`", document.read_text())
    return _of_tuneway(shlex.split(text) for text in texts)


def _of_tuneway(found: Iterable[list[str]]) -> list[list[str]]:
    return [words[1:] for words in found if words[0].rpartition("/")[2] == "tuneway"]
