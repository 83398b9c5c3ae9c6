"""What can be said of a key on the command line, as the Administration API takes it."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
NEVER = "never"
ALL = "all"
PERIODS = ("total", "day", "week", "month")


class Lifetime(click.ParamType[Any]):
    """`90s`, `30m`, `12h`, `30d` or a number of seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d+)([smhd]?)", str(value))
        if match is None:
            self.fail(f"{value} is no duration: write 90s, 30m, 12h or 30d.", param, ctx)
        return int(match[1]) * SECONDS.get(match[2], 1)


class Expiry(Lifetime):
    """The same, or `never`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return NEVER if value == NEVER else super().convert(value, param, ctx)


RIGHTS = (
    click.option("--models", help="Names that may be called, as a,b; `ft:base:*` for all that begin so; `all`."),
    click.option("--scopes", help="Endpoints that may be used, as a,b (docs/keys.md lists them); `all`."),
    click.option("--expires-in", type=Expiry(), help="90s, 30m, 12h, 30d; `never`."),
    click.option("--logging", type=click.Choice(["full", "metadata", "off"]), help="What the exchange log keeps."),
    click.option("--tags", help="As a,b."),
    click.option("--tier", help="A class of rate limits of the settings."),
)


def rights_options(command: Command) -> Command:
    """Give a command the options of RIGHTS."""
    for option in reversed(RIGHTS):
        command = option(command)
    return command


def rights(
    *, models: str | None, scopes: str | None, expires_in: int | str | None, logging: str | None, tags: str | None,
    tier: str | None,
) -> dict[str, Any]:  # fmt: skip
    """The fields of the API for what was given; nothing for what was not."""
    given = {
        "allowed_models": _listed(models),
        "scopes": _listed(scopes),
        "expires_in_seconds": expires_in,
        "logging": logging,
        "tags": _listed(tags),
        "tier": tier,
    }
    return {name: None if value in (NEVER, [ALL]) else value for name, value in given.items() if value is not None}


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [each.strip() for each in text.split(",") if each.strip()]
