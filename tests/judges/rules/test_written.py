"""Rules as they are written down."""

import subprocess
import sys

import pytest

HEAVY = ("py3langid", "numpy", "phonenumbers")


@pytest.mark.parametrize("module", ["judges.rules.written", "gateway.protocol.judges", "gateway.app"])
def test_whoever_stores_rules_does_not_wait_for_what_applies_them(module: str) -> None:
    command = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
