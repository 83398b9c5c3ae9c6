"""What sections of settings are made of."""

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


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: a typo is an error."""


def refuse_less_than_one(section: Section, names: tuple[str, ...]) -> None:
    """Raises ValueError, which names the setting. None is no number."""
    for name in names:
        value = getattr(section, name)
        if value is not None and value < 1:
            raise ValueError(f"{name}: {value} is less than 1")
