"""Every call that the SDK's administration resources can make, found by asking the SDK itself."""

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from openai import DefaultHttpxClient, OpenAI

EXTERNAL_KEY = {"type": "aws_kms", "name": "x", "kms_arn": "x", "role_arn": "x", "external_id": "x"}
NEEDS = {"external_keys.create": EXTERNAL_KEY}
"""What the SDK wants beside the arguments that have no default."""


@dataclass(frozen=True)
class Operation:
    """One method of the SDK."""

    resource: str
    """Below client.admin.organization: `projects.users.roles`."""
    name: str
    method: str
    path: str
    """Below /v1, with `{project_id}` and the like."""

    def is_call(self, method: str, path: str) -> bool:
        """Whether a call of this path below /v1 is this operation."""
        return method == self.method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", self.path), path) is not None

    def make(self, client: OpenAI) -> Any:
        """Call it with `x` for every argument."""
        resource: Any = client.admin.organization
        for part in self.resource.split("."):
            resource = getattr(resource, part)
        return _call(getattr(resource, self.name), f"{self.resource}.{self.name}", "x")


class _Noted(Exception):
    """Instead of sending a request."""


def operations() -> list[Operation]:
    """Of client.admin.organization and all below it."""
    requests: list[Any] = []

    def note(request: Any) -> None:
        requests.append(request)
        raise _Noted

    http = DefaultHttpxClient(event_hooks={"request": [note]})
    found: list[Operation] = []
    with OpenAI(
        base_url="http://nowhere/v1", api_key="k", admin_api_key="k", max_retries=0, http_client=http
    ) as client:
        for resource, name, method in _methods(client.admin.organization, ""):
            with suppress(_Noted):
                _call(method, f"{resource}.{name}", "x-")
            path = re.sub(r"x-(\w+)", r"{\1}", requests[-1].url.path.removeprefix("/v1"))
            found.append(Operation(resource, name, requests[-1].method, path))
    assert len(found) == len(requests)
    return found


def _methods(resource: Any, name: str) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Of a resource and those below it: where it is, what it is called, and itself."""
    kind = type(resource)
    for member in dir(kind):
        found = inspect.getattr_static(kind, member)
        if isinstance(found, cached_property) and not member.startswith("with_"):
            yield from _methods(getattr(resource, member), f"{name}.{member}".removeprefix("."))
        elif inspect.isfunction(found) and not member.startswith("_"):
            yield name, member, getattr(resource, member)


def _call(method: Callable[..., Any], full_name: str, value: str) -> Any:
    """With a value for each argument that has no default: `x`, or `x-` and the argument's name."""
    parameters = inspect.signature(method).parameters.values()
    needed = [each.name for each in parameters if each.default is inspect.Parameter.empty]
    given = {name: f"x-{name}" if value == "x-" else value for name in needed}
    return method(**given | NEEDS.get(full_name, {}))
