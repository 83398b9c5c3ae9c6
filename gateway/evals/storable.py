"""What models say as PostgreSQL takes it: JSON without the character NUL and without halves of characters."""

from typing import Any, cast


def storable(value: Any) -> Any:
    """A copy of JSON in which they are replaced by U+FFFD; nothing else changes."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [storable(each) for each in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {storable(name): storable(each) for name, each in cast("dict[str, Any]", value).items()}
    return value
