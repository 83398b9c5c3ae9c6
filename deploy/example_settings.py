"""Writes the example configuration from gateway/settings.py: every setting, its default and what it means."""

import textwrap
from pathlib import Path
from typing import Any

import msgspec

from gateway.kit.section import default_of, meanings
from gateway.settings import (
    LimitSettings,
    PriceSettings,
    RouteSettings,
    Secret,
    Section,
    Settings,
    TierSettings,
    UpstreamSettings,
)

HEADER = """\
# Every setting of Tuneway with its default. Pass the file with --config, or TUNEWAY_CONFIG.
# Any of them can be set in the environment instead: TUNEWAY_DATABASE__URL sets [database] url.
# Written by `make example-settings` from gateway/settings.py; do not edit.
"""
LISTS: dict[str, type[msgspec.Struct]] = {
    "upstreams": UpstreamSettings,
    "routes": RouteSettings,
    "prices": PriceSettings,
    "tiers": TierSettings,
}
EXAMPLES: dict[type[msgspec.Struct], dict[str, Any]] = {
    UpstreamSettings: {
        "name": "openai",
        "base_url": "https://api.openai.com/v1",
        "models": ("gpt-4o-mini",),
        "api_key_env": "OPENAI_API_KEY",
    },
    TierSettings: {
        "name": "free",
        "requests_per_minute": 100,
        "tokens_per_minute": 100_000,
        "requests_per_day": 10_000,
        "tokens_per_day": 5_000_000,
        "concurrent_requests": 10,
        "models": {"gpt-4o-mini": LimitSettings(requests_per_minute=10)},
    },
    RouteSettings: {
        "name": "support-bot",
        "targets": ({"model": "starter", "weight": 9.0}, {"model": "gpt-4o-mini", "weight": 1.0}),
        "fallbacks": ({"model": "gpt-4o-mini", "on": ("server_error", "connection", "timeout")},),
        "sticky": "user",
    },
    PriceSettings: {
        "model": "gpt-4o-mini",
        "input": 0.15,
        "cached_input": 0.075,
        "output": 0.6,
        "training": 3.0,
        "training_hour": 2.5,
        "max_output_tokens": 16384,
    },
}


def render() -> str:
    """The whole file."""
    scalars: list[str] = []
    tables: list[str] = []
    for field in msgspec.structs.fields(Settings):
        default = field.default
        if isinstance(default, Section):
            tables.append(f"[{field.name}]\n" + _fields(type(default), {}))
        elif (kind := LISTS.get(field.name)) is not None:
            tables.append(_commented(f"[[{field.name}]]\n" + _fields(kind, EXAMPLES[kind])))
        else:
            scalars.append(_field(Settings, field.name, default))
    return "\n".join([HEADER, "\n".join(scalars), *tables])


def _fields(kind: type[msgspec.Struct], examples: dict[str, Any]) -> str:
    return "".join(
        _field(kind, each.name, examples.get(each.name, default_of(each))) for each in msgspec.structs.fields(kind)
    )


def _field(kind: type[msgspec.Struct], name: str, value: Any) -> str:
    """Comment lines, then `name = value`; what has no default is shown commented out."""
    meaning = "".join(f"# {line}\n" for line in textwrap.wrap(meanings(kind).get(name, ""), 110))
    assert value is not msgspec.NODEFAULT, f"{kind.__name__}.{name} needs an example"
    return meaning + (f"# {name} = ...\n" if value is None else f"{name} = {_toml(value)}\n")


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case msgspec.Struct():
            return _toml(msgspec.structs.asdict(value))
        case dict():
            fields = ", ".join(f"{name} = {_toml(each)}" for name, each in value.items() if each is not None)  # type: ignore[misc]
            return "{ " + fields + " }" if fields else "{}"
        case tuple():
            return "[" + ", ".join(_toml(each) for each in value) + "]"  # type: ignore[misc]
        case Secret() | Path() | str():
            text = value.reveal() if isinstance(value, Secret) else str(value)
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case _:
            raise TypeError(f"no TOML for {value!r}")


def _commented(table: str) -> str:
    return "".join(f"# {line}\n" for line in table.splitlines())


if __name__ == "__main__":
    print(render(), end="")
