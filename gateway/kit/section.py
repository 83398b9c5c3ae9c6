"""What sections of settings are made of."""

import ast
import inspect
import itertools
from functools import cache
from typing import Any, TypeVar

import msgspec


class Secret:
    """A string that does not show itself in logs and tracebacks."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Secret('***')"


S = TypeVar("S", bound="Section")


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: a typo is an error."""


def revealed(section: Section) -> dict[str, Any]:
    """With its secrets as they are, for a process of ours that it is told to through a pipe (`restored`)."""
    return msgspec.to_builtins(
        section, enc_hook=lambda value: value.reveal() if isinstance(value, Secret) else str(value)
    )


def restored(kind: type[S], plain: dict[str, Any]) -> S:
    """A section from what `revealed` made of it."""
    return msgspec.convert(plain, kind, dec_hook=lambda kind, value: kind(value))


def refuse_less_than_one(section: Section, names: tuple[str, ...]) -> None:
    """Raises ValueError, which names the setting. None is no number."""
    for name in names:
        value = getattr(section, name)
        if value is not None and value < 1:
            raise ValueError(f"{name}: {value} is less than 1")


@cache
def meanings(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Docstring of each field, inherited ones too: the string that stands under it in the source."""
    found: dict[str, str] = {}
    for parent in kind.__mro__[: kind.__mro__.index(msgspec.Struct)]:
        (definition,) = ast.parse(inspect.getsource(parent)).body
        assert isinstance(definition, ast.ClassDef)
        for field, below in itertools.pairwise(definition.body):
            named = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            if named and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[field.target.id] = str(below.value.value)  # type: ignore[union-attr]
    return found


def default_of(field: msgspec.structs.FieldInfo) -> Any:
    """msgspec.NODEFAULT where there is none; msgspec makes a factory of an empty dict."""
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
