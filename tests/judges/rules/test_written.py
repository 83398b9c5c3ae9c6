"""Rules as they are written down."""

import subprocess
import sys

import pytest

HEAVY = ("py3langid", "phonenumbers")
"""What rules are applied with."""


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("judges.rules.written", (*HEAVY, "numpy")),
        ("gateway.protocol.judges", (*HEAVY, "numpy")),
        ("gateway.app", HEAVY),  # numpy is there for other things: lines of training data are looked at with it
    ],
)
def test_whoever_stores_rules_does_not_wait_for_what_applies_them(module: str, heavy: tuple[str, ...]) -> None:
    command = f"import sys, {module}; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
