"""Months of a report (UTC)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from admin.console.api import ApiRefused

FIRST_YEAR, LAST_YEAR = 2000, 2200


@dataclass(frozen=True, slots=True)
class Month:
    year: int
    number: int
    """From 1 to 12."""

    @property
    def name(self) -> str:
        """As in a URL: 2026-11."""
        return f"{self.year}-{self.number:02}"

    @property
    def title(self) -> str:
        return datetime(self.year, self.number, 1, tzinfo=UTC).strftime("%B %Y")

    @property
    def start(self) -> int:
        return int(datetime(self.year, self.number, 1, tzinfo=UTC).timestamp())

    @property
    def end(self) -> int:
        return self.next.start

    @property
    def next(self) -> "Month":
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    @property
    def before(self) -> "Month":
        return Month(self.year - (self.number == 1), (self.number - 2) % 12 + 1)


def month_of(text: str, moment: float) -> Month:
    """What a URL asks for; without it the month that is now. Raises ApiRefused."""
    if not text:
        now = datetime.fromtimestamp(moment, UTC)
        return Month(now.year, now.month)
    found = re.fullmatch(r"(\d{4})-(\d{2})", text, re.ASCII)
    year, number = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (FIRST_YEAR <= year < LAST_YEAR and 1 <= number <= 12):
        raise ApiRefused(400, {"message": "Write a month as 2026-11.", "param": "month"})
    return Month(year, number)


def latest(moment: float, count: int) -> list[Month]:
    """The month that is now and those before it, newest first."""
    found = [month_of("", moment)]
    while len(found) < count:
        found.append(found[-1].before)
    return found
