"""What people type into fields, as the API takes it. What is not understood is passed on: the API says what is wrong."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from admin.console.api import ApiRefused

_number = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")


def text(form: Mapping[str, Any], name: str) -> str:
    """Without spaces around it; empty where nothing was typed."""
    return str(form.get(name) or "").strip()


def amount(form: Mapping[str, Any], name: str) -> Any:
    """Dollars, digit by digit and never through a float; None for an empty field."""
    written = text(form, name).removeprefix("$").strip()
    return msgspec.Raw(written.encode()) if _number.fullmatch(written) else written or None


def whole(form: Mapping[str, Any], name: str) -> int | str | None:
    """A whole number; None for an empty field."""
    written = text(form, name)
    return int(written) if re.fullmatch(r"-?\d{1,18}", written) else written or None


def days(form: Mapping[str, Any], name: str) -> int | None:
    """Seconds of so many days; None for an empty field. Raises ApiRefused."""
    written = text(form, name)
    if not written:
        return None
    if not _number.fullmatch(written) or len(written) > 12:
        raise ApiRefused(400, {"message": "Enter a number of days, as in 30 or 0.5.", "param": name})
    return round(float(written) * 86_400)


def words(form: Mapping[str, Any], name: str) -> list[str]:
    """Names that commas, spaces or line ends part."""
    return re.split(r"[\s,]+", written) if (written := text(form, name)) else []


def lines(form: Mapping[str, Any], name: str) -> list[str]:
    return [line.strip() for line in text(form, name).splitlines() if line.strip()]


def parted(form: Mapping[str, Any], name: str) -> list[str]:
    """Names that commas or line ends part, and which may have spaces in them."""
    return [each.strip() for each in re.split(r"[,\n]", text(form, name)) if each.strip()]


def pairs(form: Mapping[str, Any], name: str, param: str) -> dict[str, str]:
    """key=value, one a line. Raises ApiRefused, of `param`."""
    found: dict[str, str] = {}
    for line in lines(form, name):
        key, separator, value = line.partition("=")
        if not separator:
            message = "Write metadata as key=value, one a line, as in team=support."
            raise ApiRefused(400, {"message": message, "param": param})
        found[key.strip()] = value.strip()
    return found


def pair_lines(pairs: Mapping[str, str]) -> str:
    """The same as it is filled in."""
    return "\n".join(f"{key}={value}" for key, value in pairs.items())


def utc(form: Mapping[str, Any], name: str) -> int | None:
    """Unix seconds of a `datetime-local`; None for an empty field. Raises ApiRefused."""
    written = text(form, name)
    try:
        return round(datetime.fromisoformat(written).replace(tzinfo=UTC).timestamp()) if written else None
    except (ValueError, OverflowError):
        raise ApiRefused(400, {"message": "Enter a date and a time, as in 2027-01-31T09:00.", "param": name}) from None


def of_field(refused: ApiRefused, **fields: str) -> ApiRefused:
    """The same, of the field that was filled in: `thresholds[1]` is of `thresholds`. Args: fields: parameter -> field."""
    name = (refused.param or "").partition("[")[0].partition(".")[0]
    refused.param = fields.get(name, name) or None
    return refused
