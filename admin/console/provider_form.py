"""A provider, between a form and the API. Secrets go one way: an empty field keeps what is there."""

from collections.abc import Mapping
from typing import Any

from admin.console import entered
from admin.console.api import ApiRefused, Json

KINDS = {"openai": "OpenAI's API", "anthropic": "Anthropic's API"}
OPTIONAL = ("organization", "project")


def wanted(form: Mapping[str, Any], *, is_new: bool) -> dict[str, Any]:
    """What the API takes. Raises ApiRefused."""
    fields: dict[str, Any] = {
        "name": entered.text(form, "name"),
        "kind": entered.text(form, "kind") or "openai",
        "base_urls": entered.words(form, "base_urls"),
        "models": [_model(line) for line in entered.lines(form, "models")],
        "headers": _headers(form, "headers"),
    }
    fields |= {name: entered.text(form, name) or None for name in OPTIONAL}
    return fields | _secrets(form, is_new=is_new)


def as_filled(provider: Json) -> dict[str, Any]:
    """The same of a provider that there is, for the form that changes it."""
    return {
        "name": provider["name"],
        "kind": provider["kind"],
        "base_urls": "\n".join(provider["base_urls"]),
        "models": "\n".join(_line(each) for each in provider["models"]),
        "headers": "\n".join(f"{name}: {value}" for name, value in provider["headers"].items()),
        "organization": provider["organization"] or "",
        "project": provider["project"] or "",
    }


def called(model: Json) -> str:
    """How clients call a model of a provider."""
    return model if isinstance(model, str) else model["model"]


def _secrets(form: Mapping[str, Any], *, is_new: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("api_key", "proxy"):
        if value := entered.text(form, name):
            found[name] = value
        elif entered.text(form, f"no_{name}") == "true":
            found[name] = None
    if headers := _headers(form, "secret_headers"):
        found["secret_headers"] = headers
    elif entered.text(form, "no_secret_headers") == "true" and not is_new:
        found["secret_headers"] = None
    return found


def _model(line: str) -> str | dict[str, str]:
    """`name` or `name = what the provider calls it`."""
    model, equals, served = (part.strip() for part in line.partition("="))
    return {"model": model, "served_name": served} if equals else model


def _line(model: Json) -> str:
    return model if isinstance(model, str) else f"{model['model']} = {model['served_name']}"


def _headers(form: Mapping[str, Any], name: str) -> dict[str, str]:
    """`Name: value` in each line. Raises ApiRefused, which repeats nothing: it may be a secret."""
    found: dict[str, str] = {}
    for number, line in enumerate(entered.lines(form, name), start=1):
        header, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or not header:
            raise ApiRefused(400, {"message": f"Line {number}: a header is written as `Name: value`.", "param": name})
        found[header] = value
    return found
