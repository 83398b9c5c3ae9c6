"""Time, always aware of its zone."""

from datetime import UTC, datetime


def now() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)


def unix(moment: datetime) -> int:
    """Whole seconds since 1970, as OpenAI's API writes every timestamp."""
    return int(moment.timestamp())


def from_unix(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
