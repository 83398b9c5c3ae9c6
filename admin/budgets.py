"""`tuneway budgets`: a client of /v1/budgets."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite
from typing import Any

import click

from admin.api import AdminCommand, Api, existing_project
from admin.key_options import PERIODS

PROJECT = click.option("--project", "project", default=None, help="Id or name; whose budget it is.")
KEY = click.option("--key", "key_id", default=None, help="Id of an API key (key_...); whose budget it is.")
PERIOD = click.option("--period", type=click.Choice(PERIODS), default="month", show_default=True)


class Dollars(click.ParamType[float]):
    """JSON has no infinity."""

    name = "usd"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            amount = float(str(value).removeprefix("$"))
        except ValueError:
            self.fail(f"{value} is no amount of dollars", param, ctx)
        return amount if isfinite(amount) else self.fail(f"{value} is no amount of dollars", param, ctx)


@click.group()
def budgets() -> None:
    """Say what keys, projects or everybody may spend, and see what is left."""


@budgets.command("list", cls=AdminCommand)
@PROJECT
@KEY
def list_budgets(project: str | None, key_id: str | None, url: str, admin_key: str, as_json: bool) -> None:
    """List the budgets and what is spent of them."""
    api = Api(url, admin_key)
    found = list(api.every("/budgets", _filter(api, project, key_id)))
    if as_json:
        click.echo(json.dumps(found))
        return
    for each in found:
        click.echo(_line(each))


@budgets.command("set", cls=AdminCommand)
@click.argument("limit", type=Dollars())
@PROJECT
@KEY
@PERIOD
@click.option("--soft/--hard", "soft", default=None, help="Soft: it tells of its thresholds and refuses nothing.")
@click.option("--threshold", "thresholds", type=int, multiple=True, help="Percent that is told of; may be repeated.")
@click.option("--name", default=None)
def set_budget(limit: float, project: str | None, key_id: str | None, period: str, **given: Any) -> None:
    """Make a budget of LIMIT dollars, or change the one of the same scope and period; of everybody, unless told whose.

    \b
    tuneway budgets set 25 --project shop --period month --threshold 50 --threshold 90
    """
    api = Api(given["url"], given["admin_key"])
    fields: dict[str, Any] = {"limit_usd": limit}
    if given["soft"] is not None:
        fields["hard"] = not given["soft"]
    if given["thresholds"]:
        fields["thresholds"] = list(given["thresholds"])
    if given["name"] is not None:
        fields["name"] = given["name"]
    place = _place(api, project, key_id)
    found = _find(api, place, period)
    path = f"/budgets/{found['id']}" if found else "/budgets"
    budget = api.call("POST", path, fields if found else place | {"period": period} | fields)
    click.echo(json.dumps(budget) if given["as_json"] else _line(budget))


@budgets.command("remove", cls=AdminCommand)
@click.argument("budget_id")
def remove(budget_id: str, url: str, admin_key: str, as_json: bool) -> None:
    """Delete a budget: it binds nobody any more."""
    answer = Api(url, admin_key).call("DELETE", f"/budgets/{budget_id}")
    click.echo(json.dumps(answer) if as_json else f"Deleted {budget_id}.")


@budgets.command("holders", cls=AdminCommand)
def holders(url: str, admin_key: str, as_json: bool) -> None:
    """List who holds parts of budgets: gateway processes and fine-tuning jobs."""
    found = list(Api(url, admin_key).every("/budgets/holders"))
    if as_json:
        click.echo(json.dumps(found))
        return
    for each in found:
        click.echo(_holder_line(each))


@budgets.command("release", cls=AdminCommand)
@click.argument("holder_id")
def release(holder_id: str, url: str, admin_key: str, as_json: bool) -> None:
    """Free what a gateway process holds that is dead and whose disk is lost. What it spent there is in no bill.

    Be sure that its machine is gone: one that runs, but cannot reach the database, spends what it holds.
    """
    answer = Api(url, admin_key).call("POST", f"/budgets/holders/{holder_id}/release")
    click.echo(
        json.dumps(answer) if as_json else f"Released {holder_id}: ${_usd(answer['unspent_usd'])} is free again."
    )


def _place(api: Api, project: str | None, key_id: str | None) -> dict[str, Any]:
    """Whose it is, as POST /v1/budgets takes it."""
    if project is None:
        return {"api_key_id": key_id} if key_id else {}
    owner = {"project_id": existing_project(api, project)["id"]}
    return owner | {"api_key_id": key_id} if key_id else owner


def _filter(api: Api, project: str | None, key_id: str | None) -> dict[str, Any]:
    return {f"{name}s[]": value for name, value in _place(api, project, key_id).items()}


def _find(api: Api, place: dict[str, Any], period: str) -> dict[str, Any] | None:
    scope = "api_key" if "api_key_id" in place else "project" if place else "organization"
    every = api.every("/budgets", {f"{name}s[]": value for name, value in place.items()} | {"scope": scope})
    return next((each for each in every if each["period"] == period and each["source"] == "budgets"), None)


def _line(budget: dict[str, Any]) -> str:
    window = budget["window"]
    whose = budget["api_key_id"] or budget["project_id"] or "everybody"
    until = f" until {_when(window['ends_at'])}" if window["ends_at"] else ""
    kind = "" if budget["hard"] else ", soft"
    spent = f"${_usd(window['spent_usd'])} of ${_usd(budget['limit_usd'])} ({window['percent']:g}%)"
    return f"{budget['id']}  {whose:30} {budget['period']}{kind}: {spent}{until}"


def _holder_line(holder: dict[str, Any]) -> str:
    silent = holder["silent_seconds"]
    where = f" on {holder['host']}" if holder["host"] else ""
    kind = holder["kind"].replace("_", "-")
    told = f", last heard of {silent} s ago" if silent is not None else ""
    of = ", ".join(
        f"${_usd(each['unspent_usd'])} of {each['budget_id']}" for each in holder["leases"] if each["unspent_usd"]
    )
    return f"{holder['id']}  {kind}{where}{told}: holds {of or 'nothing'}"


def _usd(amount: float) -> str:
    text = f"{Decimal(str(amount)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _when(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
