"""`tuneway prices`: a client of /v1/prices."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import click

from admin.api import AdminCommand, Api
from admin.budgets import Dollars

AMOUNTS = ("input", "cached_input", "output", "per_request", "training", "training_hour")
FIELDS = (*AMOUNTS, "max_output_tokens")
WHEN = "%Y-%m-%d %H:%M:%S UTC"


@click.group()
def prices() -> None:
    """Say what models cost, from now on or from a day on."""


@prices.command("list", cls=AdminCommand)
@click.option("--model", default=None, help="All models when left out.")
def list_prices(model: str | None, url: str, admin_key: str, as_json: bool) -> None:
    """List every price, the last one to begin first."""
    found = list(Api(url, admin_key).every("/prices", {"model": model} if model else {}))
    if as_json:
        click.echo(json.dumps(found))
        return
    for each in found:
        click.echo(_line(each))


@prices.command("set", cls=AdminCommand)
@click.argument("model")
@click.option("--input", "input", type=Dollars(), default=None, help="USD for 1M input tokens.")
@click.option("--cached-input", type=Dollars(), default=None, help="USD for 1M input tokens from a cache.")
@click.option("--output", type=Dollars(), default=None, help="USD for 1M output tokens.")
@click.option("--per-request", type=Dollars(), default=None, help="USD for each request.")
@click.option("--training", type=Dollars(), default=None, help="USD for 1M trained tokens.")
@click.option("--training-hour", type=Dollars(), default=None, help="USD for an hour of one device in training.")
@click.option("--max-output-tokens", type=int, default=None, help="The most that the model answers.")
@click.option(
    "--from",
    "since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]),
    default=None,
    help="When it begins (UTC); now when left out.",
)
def set_price(model: str, since: datetime | None, url: str, admin_key: str, as_json: bool, **given: Any) -> None:
    """Give MODEL a new price. What is not given stays as it is at that time.

    \b
    tuneway prices set gpt-4o-mini --input 0.15 --cached-input 0.075 --output 0.6 --from 2027-01-01
    """
    api = Api(url, admin_key)
    begins = int(since.replace(tzinfo=UTC).timestamp()) if since else None
    before = _in_force(api, model, begins or int(time.time()))
    price = before | {name: value for name, value in given.items() if value is not None}
    for name in ("input", "output"):
        if name not in price:
            raise click.UsageError(f"{model} has no price yet: --{name} is needed.")
    made = api.call("POST", "/prices", price | {"model": model} | ({"effective_at": begins} if begins else {}))
    click.echo(json.dumps(made) if as_json else _line(made))


@prices.command("delete", cls=AdminCommand)
@click.argument("price_id")
def delete(price_id: str, url: str, admin_key: str, as_json: bool) -> None:
    """Take back a price that has not begun."""
    answer = Api(url, admin_key).call("DELETE", f"/prices/{price_id}")
    click.echo(json.dumps(answer) if as_json else f"Deleted {price_id}.")


def _in_force(api: Api, model: str, moment: int) -> dict[str, Any]:
    """The amounts of the price that holds at `moment` (Unix seconds), as far as it says any."""
    found = api.call("GET", "/prices", query={"model": model, "effective_at[lte]": moment, "limit": 1})["data"]
    return {name: found[0][name] for name in FIELDS if found[0][name] is not None} if found else {}


def _line(price: dict[str, Any]) -> str:
    since = price["effective_at"]
    begins = datetime.fromtimestamp(since, UTC).strftime(WHEN) if since else "always (settings)"
    amounts = ", ".join(
        f"{name} ${price[name]:.9f}".rstrip("0").rstrip(".") for name in AMOUNTS if price[name] is not None
    )
    problem = f"\n  ! {price['problem']}" if price["problem"] else ""
    return f"{price['id']}  {price['model']:24} {begins:24} {amounts}{problem}"
