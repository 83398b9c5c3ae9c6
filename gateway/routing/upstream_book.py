"""Every provider that was added through the API, in memory, its secrets opened: a call finds it without a query."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import UpstreamRow
from gateway.kit.sealing import CannotOpen, Sealer
from gateway.protocol.upstreams import Kind, ServedModel
from gateway.routing import upstreams
from gateway.routing.deployment import Deployment
from gateway.routing.upstream import Upstream, extra_headers

log = logging.getLogger(__name__)

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

    name = upstreams.MIRROR

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

    async def load(self, session: AsyncSession) -> None:
        """Swap in every provider that was not deleted.

        One whose secrets cannot be opened takes no other down: its models are there, and calls to them are refused with
        the reason.
        """
        rows = await session.scalars(upstreams.live())
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


def provider_of(row: UpstreamRow, sealer: Sealer) -> Provider:
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


def _provider(row: UpstreamRow, kind: Kind, secrets: _Secrets, problem: str | None) -> Provider:
    upstream = Upstream(
        row.name,
        tuple(row.base_urls),
        secrets.key,
        kind=kind,
        headers=extra_headers({**row.headers, **secrets.headers}, row.organization, row.project),
        proxy=secrets.proxy or row.proxy,
    )
    deployments = tuple(_deployment(each, upstream, problem) for each in upstreams.models_of(row))
    return Provider(row.id, upstream, deployments, problem)


def _deployment(model: str | ServedModel, upstream: Upstream, problem: str | None) -> Deployment:
    if isinstance(model, ServedModel):
        return Deployment(model.model, upstream, served_name=model.served_name, problem=problem)
    return Deployment(model, upstream, problem=problem)


def _open(row: UpstreamRow, sealer: Sealer) -> _Secrets:
    def opened(name: str) -> str | None:
        sealed: bytes | None = getattr(row, name)
        return None if sealed is None else sealer.open(sealed, upstreams.place(row.id, name))

    headers = opened("encrypted_headers")
    return _Secrets(
        key=opened("encrypted_key") or "",
        headers=msgspec.json.decode(headers, type=dict[str, str]) if headers else {},
        proxy=opened("encrypted_proxy"),
    )
