"""/v1/models"""

from typing import Any

import msgspec
from litestar import MediaType, Response, delete, get
from litestar.params import FromPath, QueryParams

from gateway.errors import Forbidden, ModelNotFound
from gateway.fine_tuning.models import delete_model as delete_row
from gateway.keys.ring import ApiKey
from gateway.keys.scopes import MODEL_EXPORT, require
from gateway.protocol.lists import Deleted
from gateway.protocol.models import Model
from gateway.protocol.queries import choice
from gateway.routes.callers import Caller, Sv
from gateway.routes.model_exports import FORMATS, export
from gateway.routing.deployment import Deployment
from gateway.routing.route_book import Route
from gateway.services import Services

EXPORT = "/export"


@get("/v1/models")
async def list_models(sv: Sv, caller: Caller) -> dict[str, object]:
    """Every name that this key may call, of those of its project: the base, other providers' models, and those trained
    here: the finals, the last three checkpoints of each job, and what another project has shared; then routes and
    aliases.

    A route with the name of a model stands in its place.
    """
    await sv.mirrors.catch_up()  # a job that has just succeeded is in the list
    routes, aliases = sv.names.visible_to(caller.project_id)
    shown = {deployment.model: model(deployment, sv) for deployment in sv.catalog.visible_to(caller.project_id)}
    shown |= {route.name: of_route(route, sv) for route in routes}
    for alias in aliases:
        shown[alias] = named(alias, model(await sv.names.model(alias, caller.project_id), sv))
    return {"object": "list", "data": [each for each in shown.values() if await _callable(sv, caller, each.id)]}


@get("/v1/models/{model_id:path}")
async def retrieve_model(sv: Sv, caller: Caller, model_id: FromPath[str], query: QueryParams) -> Response[Any]:
    """The id may contain slashes and colons: `org/name`, `ft:base:org:suffix:id`.

    Behind such an id the framework knows no further path, so `GET /v1/models/{ft}/export` arrives here, too.
    """
    name = model_id.removeprefix("/")
    if name.startswith("ft:") and name.endswith(EXPORT):
        wanted = choice(query, "format", FORMATS, "") if "format" in query else None
        require(caller.scopes, MODEL_EXPORT)
        caller.require_model(name.removesuffix(EXPORT))
        return await export(sv, caller.project_id, name.removesuffix(EXPORT), wanted)
    if not await _callable(sv, caller, name):
        raise ModelNotFound(name)
    if route := sv.names.route(name, caller.project_id):
        found = of_route(route, sv)
    else:
        found = named(name, model(await sv.names.model(name, caller.project_id), sv))
    return Response(found, media_type=MediaType.JSON)


@delete("/v1/models/{model_id:path}", status_code=200)
async def delete_model(sv: Sv, caller: Caller, model_id: FromPath[str]) -> Deleted:
    """Only what this project has trained. Raises ModelNotFound, Forbidden, Conflict."""
    name = model_id.removeprefix("/")
    caller.require_model(name)
    await sv.mirrors.catch_up()
    if sv.names.route(name, caller.project_id):
        raise Forbidden(f"`{name}` is a route, not a model: an administrator deletes it with DELETE /v1/routes/{{id}}.")
    deployment = await sv.names.model(name, caller.project_id)
    if deployment.project_id != caller.project_id:
        whose = "belongs to another project" if deployment.project_id else "was not fine-tuned here"
        raise Forbidden(f"The model `{name}` {whose}: a project can delete the models that it has fine-tuned itself.")
    async with sv.database.session() as session:
        await delete_row(session, caller.project_id, name)
    await sv.mirrors.catch_up()
    return Deleted(id=name, object="model")


async def _callable(sv: Services, caller: ApiKey, name: str) -> bool:
    """Whether the rules of this key let somebody answer a call of that name."""
    if caller.models is None:
        return True
    try:
        caller.require_model(name)
        (await sv.names.plan(name, caller.project_id)).among(caller.models.may_serve)
    except ModelNotFound:
        return False
    return True


def model(deployment: Deployment, sv: Services) -> Model:
    ours = deployment.upstream.is_engine or deployment.base_model
    owner = sv.settings.organization if ours else deployment.upstream.name
    return Model(id=deployment.model, created=deployment.created, owned_by=owner)


def of_route(route: Route, sv: Services) -> Model:
    return Model(id=route.name, created=route.created, owned_by=sv.settings.organization)


def named(name: str, shown: Model) -> Model:
    """A model under the name by which it was asked for."""
    return msgspec.structs.replace(shown, id=name)
