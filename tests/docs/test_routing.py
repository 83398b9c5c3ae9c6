"""The examples of docs/routing.md are taken as they stand: TOML, JSON, commands."""

import re
import shlex
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
import pytest
from litestar.handlers import HTTPRouteHandler

from admin.routes import routes as commands
from gateway.protocol import routes
from gateway.protocol.route_rules import check_name, check_spec, faults
from gateway.protocol.routes import CONDITIONS, RouteCreate, RouteUpdate
from gateway.routes.urls import ROUTES
from gateway.settings import load

PAGE = (Path(__file__).parents[2] / "docs" / "routing.md").read_text()
BODIES = re.findall(r"-d '(\{.*?\n\})'", PAGE, re.DOTALL)


def rows(heading: str) -> list[str]:
    """First cells of the first table behind a heading."""
    table = PAGE.split(heading, 1)[1].split("\n|---|", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)


def test_the_configuration_loads(tmp_path: Path) -> None:
    [block] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    config = tmp_path / "tuneway.toml"
    config.write_text(block)
    found = load(config, {})
    assert [route.name for route in found.routes] == ["chat"]
    assert found.routes[0].timeouts.total == 120.0
    assert found.routing.fallbacks == {"starter": ("gpt-4o-mini",)}


def test_the_bodies_are_sound() -> None:
    made, changed = BODIES
    route = msgspec.json.decode(made, type=RouteCreate)
    check_name(route.name)
    check_spec(route)
    change = msgspec.json.decode(changed, type=RouteUpdate)
    assert not list(faults(routes.RouteSpec(targets=change.targets or ())))


@pytest.mark.parametrize("line", re.findall(r"^tuneway routes (.+)$", PAGE, re.MULTILINE))
def test_the_commands_parse(line: str) -> None:
    name, *arguments = shlex.split(line)
    command = commands.commands[name]
    assert isinstance(command.make_context(name, [*arguments, "--admin-key", "k"]), click.Context)


def test_every_field_and_condition_is_told() -> None:
    assert rows("| field |") == list(routes.RouteSpec.__struct_fields__)
    assert rows("## When a model does not answer") == list(CONDITIONS)


def test_the_defaults_are_those_of_the_code() -> None:
    spec: Any = routes.RouteSpec(targets=())
    retries, breaker = spec.retries, spec.breaker
    assert f"| {retries.count}, {retries.backoff_ms}, {retries.max_backoff_ms} |" in PAGE
    assert f"| {breaker.failures}, {breaker.open_seconds:g} |" in PAGE
    assert spec.balance == get_args(msgspec.structs.fields(routes.RouteSpec)[3].type)[0] == "weight"


def test_the_endpoints_exist() -> None:
    known = {
        (method, path.replace(":str", "").replace(":path", ""))
        for handler in ROUTES
        if isinstance(handler, HTTPRouteHandler)
        for path in handler.paths
        for method in handler.http_methods
    }
    named = set(re.findall(r"`(GET|POST|DELETE) (/v1/\S+)`", PAGE))
    assert len(named) >= 7
    assert named - known == set()
