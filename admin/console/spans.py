"""The time that a page of traffic shows: one of a few lengths up to now, or from one moment to another."""

from dataclasses import dataclass

from admin.console.api import ApiRefused

HOUR, DAY = 3_600, 86_400
LENGTHS = {
    "1h": (HOUR, "1m", "Last hour"),
    "24h": (DAY, "1h", "Last 24 hours"),
    "7d": (7 * DAY, "1h", "Last 7 days"),
    "30d": (30 * DAY, "1d", "Last 30 days"),
    "90d": (90 * DAY, "1d", "Last 90 days"),
}
"""Name in the URL -> seconds, width of a bucket, what it is called."""
SECONDS = {"1m": 60, "1h": HOUR, "1d": DAY}


@dataclass(frozen=True, slots=True)
class Span:
    """Unix seconds, the end exclusive; whole buckets, of which the last one may not be over."""

    name: str
    """Of LENGTHS; empty between two moments."""
    start: int
    end: int
    width: str

    @property
    def seconds(self) -> int:
        """Of one bucket."""
        return SECONDS[self.width]

    @property
    def before(self) -> "Span":
        """As long, and over when this one begins."""
        return Span(self.name, 2 * self.start - self.end, self.start, self.width)

    @property
    def asked(self) -> dict[str, int | str]:
        """For GET /v1/organization/traffic."""
        return {"start_time": self.start, "end_time": self.end, "bucket_width": self.width}


def span_of(name: str, start: str, end: str, moment: float) -> Span:
    """What a URL asks for; of the last 24 hours where it says nothing that is known.

    Raises ApiRefused: the moments are none.
    """
    if start or end:
        return _between(start, end)
    name = name if name in LENGTHS else "24h"
    seconds, width, _ = LENGTHS[name]
    bucket = SECONDS[width]
    until = int(moment) // bucket * bucket + bucket
    return Span(name, until - seconds, until, width)


def _between(start: str, end: str) -> Span:
    """As finely as the API answers it."""
    if not (start.isdecimal() and end.isdecimal() and int(start) < int(end) < 2**40):
        raise ApiRefused(
            400, {"message": "Write start and end as Unix seconds, the start before the end.", "param": "start"}
        )
    first, last = int(start), int(end)
    width = "1m" if last - first <= HOUR else "1h" if last - first <= 31 * DAY else "1d"
    bucket = SECONDS[width]
    return Span("", first // bucket * bucket, -(-last // bucket) * bucket, width)
