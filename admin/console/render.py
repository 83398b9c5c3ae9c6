"""Templates, and how figures are written in them."""

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from admin.console import static_files
from admin.console.navigation import sections

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
NONE = "\u2013"
"""An en dash: nothing was measured."""
LEAST_USD = Decimal("0.000001")
"""Less is no amount that somebody reads; exports have it exactly."""
UNITS = ("B", "kB", "MB", "GB", "TB")


def rendered(template: str, values: dict[str, Any]) -> str:
    return _environment().get_template(template).render(values)


@cache
def _environment() -> "jinja2.Environment":
    import jinja2  # with the first page: a gateway that serves models alone does without

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters = {
        "number": number,
        "usd": usd,
        "nano": nano,
        "ms": milliseconds,
        "percent": percent,
        "bytes": size,
        "duration": duration,
        "time": moment,
        "day": day,
        "decimal": decimal,
        "short": short,
    }
    environment.filters.update(filters)
    ours: dict[str, Any] = {"static": static_files.url, "sections": sections}
    environment.globals |= ours
    return environment


def number(value: float | None) -> str:
    """1,234,567; None is a dash."""
    return NONE if value is None else f"{value:,.0f}"


def decimal(value: float | None, digits: int = 2) -> str:
    return NONE if value is None else f"{value:,.{digits}f}"


def usd(value: str | float | Decimal | None, exact: bool = False) -> str:
    """Dollars: to the cent from a dollar on, to three significant digits below; under a millionth of one it says only
    that, unless it is to be `exact`."""
    if value is None:
        return NONE
    amount = Decimal(str(value))
    if amount == 0 or abs(amount) >= 1:
        return f"${amount:,.2f}" if amount >= 0 else f"-${-amount:,.2f}"
    if abs(amount) < LEAST_USD and not exact:
        return f"<${LEAST_USD}" if amount > 0 else f"-<${LEAST_USD}"
    digits = max(2, 2 - amount.adjusted())
    return f"${amount:.{digits}f}" if amount > 0 else f"-${-amount:.{digits}f}"


def nano(value: int | None) -> str:
    """Nano-dollars as dollars."""
    return usd(None if value is None else Decimal(value) / 10**9, exact=True)


def milliseconds(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:,.0f} ms" if value < 10_000 else f"{value / 1000:,.1f} s"


def percent(value: float | None, digits: int = 1) -> str:
    """Of a share from 0 to 1."""
    return NONE if value is None else f"{value * 100:.{digits}f}%"


def size(value: float | None) -> str:
    if value is None:
        return NONE
    left, unit = float(value), 0
    while left >= 1000 and unit < len(UNITS) - 1:
        left, unit = left / 1000, unit + 1
    return f"{left:,.0f} {UNITS[unit]}" if unit == 0 else f"{left:,.1f} {UNITS[unit]}"


def duration(seconds: float | None) -> str:
    """1 h 2 min, 2 min 3 s, 4 s."""
    if seconds is None:
        return NONE
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def moment(unix: float | None) -> str | Markup:
    """A time: UTC in the page, and made local by console.js."""
    if unix is None:
        return NONE
    when = datetime.fromtimestamp(unix, UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        when.isoformat(timespec="seconds").replace("+00:00", "Z"), when.strftime("%Y-%m-%d %H:%M")
    )


def day(unix: float | None) -> str | Markup:
    """The same without the hour."""
    if unix is None:
        return NONE
    when = datetime.fromtimestamp(unix, UTC)
    return Markup('<time datetime="{0}" data-day>{0}</time>').format(when.strftime("%Y-%m-%d"))


def short(text: object, length: int = 80) -> str:
    """In one line, cut with an ellipsis."""
    line = " ".join(str(text if text is not None else "").split())
    return line if len(line) <= length else line[: length - 1] + "\u2026"
