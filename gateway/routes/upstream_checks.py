"""/v1/upstreams/{upstream_id}/test and /available_models: whether a provider answers, and what it has."""

import time
from dataclasses import dataclass

import msgspec
from litestar import get, post
from litestar.params import FromPath, RawBody

from gateway.errors import (
    InvalidRequest,
    ModelLoading,
    ModelUnservable,
    Refusal,
    UpstreamFailed,
    UpstreamRefused,
)
from gateway.kit.ids import new_request_id
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, cursor_list
from gateway.protocol.routes import RouteTimeouts
from gateway.protocol.upstreams import AvailableModel, UpstreamTest, UpstreamTestCreate
from gateway.routes.callers import Admin, Sv
from gateway.routes.upstreams import find_configured
from gateway.routing import upstreams
from gateway.routing.catalog import provider_deployments, provider_upstream
from gateway.routing.deployment import Deployment
from gateway.routing.upstream import Upstream
from gateway.routing.upstream_book import provider_of
from gateway.services import Services
from gateway.upstreams.client import Way
from gateway.upstreams.dialect import Dialect, dialect_of

decode_test = msgspec.json.Decoder(UpstreamTestCreate)

PATH = "/chat/completions"
PATIENCE = RouteTimeouts(connect=5.0, first_token=30.0, idle=30.0)
"""Whoever tests waits for the result."""
ONE_TOKEN = ("max_tokens", "max_completion_tokens")
"""Newer models of OpenAI's refuse the first; other servers know no other."""


@dataclass(frozen=True)
class _Found:
    """A provider, of the API or of the settings."""

    upstream: Upstream
    deployments: list[Deployment]
    problem: str | None = None


@post("/v1/upstreams/{upstream_id:str}/test", status_code=200)
async def test_upstream(sv: Sv, admin: Admin, upstream_id: FromPath[str], body: RawBody) -> UpstreamTest:
    """A real call that asks for one token; the provider bills it, and no project pays for it.

    Whatever comes of it is the answer. Raises NotFound, and InvalidRequest for a model that the provider does not serve.
    """
    wanted = decode(decode_test, body or b"{}")
    found = await _find(sv, upstream_id)
    deployment = _chosen(found, wanted.model)
    began = time.perf_counter()
    refusal = ModelUnservable(deployment.model, found.problem) if found.problem else await _call(sv, deployment)
    return UpstreamTest(
        upstream=found.upstream.name,
        model=deployment.model,
        ok=refusal is None,
        status=_status(refusal),
        ms=round((time.perf_counter() - began) * 1000),
        error=refusal.body().error if refusal else None,
    )


@get("/v1/upstreams/{upstream_id:str}/available_models")
async def list_available_models(sv: Sv, admin: Admin, upstream_id: FromPath[str]) -> CursorList:
    """What the provider says it has (its GET /models), and under which names it can be called here already.

    Raises:
        NotFound, UpstreamFailed
    """
    found = await _find(sv, upstream_id)
    if found.problem:
        raise UpstreamFailed(f"The upstream `{found.upstream.name}` cannot be called: {found.problem}")
    here: dict[str, list[str]] = {}
    for each in found.deployments:
        here.setdefault(each.served_name or each.model, []).append(each.model)
    try:
        ids = await _offered(sv, found.upstream)
    except (UpstreamFailed, UpstreamRefused, ModelLoading) as refusal:
        raise UpstreamFailed(str(refusal), code=refusal.code) from None
    return cursor_list([AvailableModel(id=id, models=here.get(id, [])) for id in ids], has_more=False)


async def _find(sv: Services, upstream_id: str) -> _Found:
    """Raises NotFound."""
    if configured := find_configured(sv.settings, upstream_id):
        return _Found(provider_upstream(configured), provider_deployments(configured))
    async with sv.database.session() as session:
        provider = provider_of(await upstreams.upstream(session, upstream_id), sv.sealer)
    return _Found(provider.upstream, list(provider.deployments), provider.problem)


def _chosen(found: _Found, model: str | None) -> Deployment:
    if not found.deployments:
        raise InvalidRequest(
            f"The upstream `{found.upstream.name}` serves no models yet: name some with POST /v1/upstreams/{{id}}.",
            param="model",
        )
    chosen = found.deployments[0] if model is None else next((e for e in found.deployments if e.model == model), None)
    if chosen is None:
        raise InvalidRequest(
            f"Invalid 'model': the upstream `{found.upstream.name}` does not serve it under that name.", param="model"
        )
    return chosen


async def _call(sv: Services, deployment: Deployment) -> Refusal | None:
    """One token, asked for in the one or the other way; what went wrong."""
    refusal: Refusal | None = None
    for limit in ONE_TOKEN:
        try:
            await _ask(sv, deployment, limit)
        except Refusal as error:
            refusal = error
            if not isinstance(error, UpstreamRefused) or limit not in f"{error.param} {error}":
                return error
        else:
            return None
    return refusal


async def _ask(sv: Services, deployment: Deployment, limit: str) -> None:
    upstream, dialect = deployment.upstream, dialect_of(deployment.upstream.kind)
    served = deployment.served_name or deployment.model
    body = msgspec.json.encode({"model": served, "messages": [{"role": "user", "content": "Hi"}], limit: 1})
    url, body = upstream.base_url + dialect.path(PATH), dialect.request(PATH, body, served_name=served)
    way = _way(upstream, dialect)
    reply = await sv.upstreams.post(upstream.name, url, body, request_id=new_request_id(), way=way)
    try:
        _decode_reply(dialect.reply(await reply.read()))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UpstreamFailed(
            f"The upstream `{upstream.name}` answered with something else than a chat completion: does the base URL end"
            " where it should, usually in /v1?"
        ) from None


async def _offered(sv: Services, upstream: Upstream) -> list[str]:
    """Ids in the order of the provider. Raises UpstreamFailed, UpstreamRefused, ModelLoading."""
    way = _way(upstream, dialect_of(upstream.kind))
    body = await sv.upstreams.get(upstream.name, f"{upstream.base_url}/models", way=way)
    try:
        return [each.id for each in _decode_models(body).data]
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UpstreamFailed(f"The upstream `{upstream.name}` did not answer with a list of models.") from None


def _way(upstream: Upstream, dialect: Dialect) -> Way:
    return Way(dialect.headers(upstream.api_key, upstream.headers), upstream.proxy, PATIENCE, dialect.error)


class _Listed(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Listed]


class _Reply(msgspec.Struct):
    choices: list[msgspec.Raw]


_decode_reply = msgspec.json.Decoder(_Reply).decode
_decode_models = msgspec.json.Decoder(_List).decode


def _status(refusal: Refusal | None) -> int | None:
    """What the provider answered."""
    match refusal:
        case None:
            return 200
        case UpstreamRefused():
            return refusal.upstream_status
        case UpstreamFailed():
            return refusal.answered
        case ModelLoading():
            return 503
        case _:
            return None
