"""Modules that are imported as empty ones."""

import sys

import pytest

from gateway.kit.left_out import left_out

NAME = "this"
"""Of a module that nobody imports, and that says something when it is."""


@pytest.fixture(autouse=True)
def _not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, NAME, raising=False)


class TestLeftOut:
    def test_is_empty_inside_and_real_afterwards(self, capsys: pytest.CaptureFixture[str]) -> None:
        with left_out(NAME):
            import this

            assert not hasattr(this, "s")
        assert NAME not in sys.modules
        assert capsys.readouterr().out == ""
        import this as real

        assert real.s

    def test_what_is_loaded_stays(self) -> None:
        with left_out("sys"):
            import sys as inside

            assert inside.path
        assert sys.modules["sys"] is sys

    def test_afterwards_also_behind_a_failure(self) -> None:
        with pytest.raises(ZeroDivisionError), left_out(NAME):
            raise ZeroDivisionError
        assert NAME not in sys.modules
