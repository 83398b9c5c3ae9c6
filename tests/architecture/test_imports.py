"""The layers of design section 3, that the gateway never imports torch, and that it starts without what only workers need."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "peft", "trl", "vllm")
ARRAYS = ("numpy", "scipy", "pyarrow", "rensa", "bm25s")
"""A tenth of a second and more each, for what no call needs."""


def test_import_contracts_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", ["gateway.app", "deploy.worker", "admin.cli", "deploy.cli", "trainer.contract"])
def test_imports_no_ml(module: str) -> None:
    """In a fresh process, so that what other tests imported does not count."""
    assert imported_with(module, HEAVY) == "[]"


def test_a_gateway_starts_without_arrays() -> None:
    assert imported_with("gateway.app", ARRAYS) == "[]"


def test_the_command_line_starts_without_what_serves() -> None:
    """Every `tuneway keys` would take twice as long."""
    assert imported_with("deploy.cli", ("gateway.services", "gateway.app", *ARRAYS)) == "[]"


def imported_with(module: str, names: tuple[str, ...]) -> str:
    program = f"import sys, {module}; print([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
