"""Every provider that was added through the API, in memory, its secrets opened: a call finds it without a query."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from gateway.db.reading import read
from gateway.kit.sealing import CannotOpen, Place, Sealer
from gateway.protocol.upstreams import Kind, ServedModel
from gateway.routing.deployment import Deployment
from gateway.routing.upstream import Upstream, extra_headers

if TYPE_CHECKING:
    from gateway.db.tables import UpstreamRow

log = logging.getLogger(__name__)

MIRROR = "upstreams"
LIVE = """
SELECT id, name, kind, base_urls, models, headers, organization, project, proxy, encrypted_key, encrypted_headers, encrypted_proxy
FROM upstreams WHERE deleted_at IS NULL ORDER BY created_at, id
"""

_kinds: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}


@dataclass(frozen=True, slots=True)
class Provider:
    """What a process knows of one."""

    id: str
    upstream: Upstream
    deployments: tuple[Deployment, ...] = ()
    problem: str | None = None
    """Why no call can be sent to it, and what to do."""


class UpstreamBook:
    """A mirror of `upstreams` (gateway/db/mirror.py)."""

    name = MIRROR

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._providers: dict[str, Provider] = {}
        self._deployments: dict[str, Deployment] = {}
        self.loads = 0
        """How often it was loaded: as long as that stays, so does what it says."""

    def find(self, model: str) -> Deployment | None:
        """Where `model` is served, if by one of these."""
        return self._deployments.get(model)

    @property
    def deployments(self) -> list[Deployment]:
        """Of every model, oldest provider first."""
        return list(self._deployments.values())

    def provider(self, upstream_id: str) -> Provider | None:
        return self._providers.get(upstream_id)

    async def load(self, connection: Any) -> None:
        """Swap in every provider that was not deleted.

        One whose secrets cannot be opened takes no other down: its models are there, and calls to them are refused with
        the reason.
        """
        rows = await read(connection, LIVE, json=("base_urls", "models", "headers"))
        self._providers = {row.id: provider_of(row, self._sealer) for row in rows}
        for found in self._providers.values():
            if found.problem:
                log.error("%s", found.problem)
        self._deployments = {each.model: each for found in self._providers.values() for each in found.deployments}
        self.loads += 1


@dataclass(frozen=True, slots=True)
class _Secrets:
    key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    proxy: str | None = None


def provider_of(row: "UpstreamRow", sealer: Sealer) -> Provider:
    """A row as it can be called, or with the problem that prevents it."""
    kind = _kinds.get(row.kind)
    if kind is None:
        problem = f"the upstream `{row.name}` is of the kind `{row.kind}`, which this version does not know."
        return _provider(row, "openai", _Secrets(), problem)
    try:
        secrets, problem = _open(row, sealer), None
    except CannotOpen as error:
        secrets, problem = (
            _Secrets(),
            (
                f"the secrets of the upstream `{row.name}` cannot be opened: {error}. An administrator can set encryption_key"
                f" to the key that sealed them, or send them again with POST /v1/upstreams/{row.id}."
            ),
        )
    return _provider(row, kind, secrets, problem)


def place(row_id: str, field: str) -> Place:
    """Where a sealed value belongs."""
    return Place("upstreams", row_id, field)


def models_of(row: "UpstreamRow") -> list[str | ServedModel]:
    """Without those that a newer version wrote and this one cannot read: one must not take the others down."""
    return [model for each in row.models if (model := _model(each)) is not None]


def _model(stored: Any) -> str | ServedModel | None:
    try:
        return msgspec.convert(stored, str | ServedModel)
    except msgspec.ValidationError:
        return None


def _provider(row: "UpstreamRow", kind: Kind, secrets: _Secrets, problem: str | None) -> Provider:
    upstream = Upstream(
        row.name,
        tuple(row.base_urls),
        secrets.key,
        kind=kind,
        headers=extra_headers({**row.headers, **secrets.headers}, row.organization, row.project),
        proxy=secrets.proxy or row.proxy,
    )
    deployments = tuple(_deployment(each, upstream, problem) for each in models_of(row))
    return Provider(row.id, upstream, deployments, problem)


def _deployment(model: str | ServedModel, upstream: Upstream, problem: str | None) -> Deployment:
    if isinstance(model, ServedModel):
        return Deployment(model.model, upstream, served_name=model.served_name, problem=problem)
    return Deployment(model, upstream, problem=problem)


def _open(row: "UpstreamRow", sealer: Sealer) -> _Secrets:
    def opened(name: str) -> str | None:
        sealed: bytes | None = getattr(row, name)
        return None if sealed is None else sealer.open(sealed, place(row.id, name))

    headers = opened("encrypted_headers")
    return _Secrets(
        key=opened("encrypted_key") or "",
        headers=msgspec.json.decode(headers, type=dict[str, str]) if headers else {},
        proxy=opened("encrypted_proxy"),
    )
