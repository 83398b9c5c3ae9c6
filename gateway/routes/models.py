"""/v1/models"""

from litestar import get
from litestar.params import FromPath

from gateway.protocol.models import Model
from gateway.routes.callers import Caller, Sv
from gateway.routing.catalog import Deployment
from gateway.routing.lookup import find_deployment
from gateway.services import Services


@get("/v1/models")
async def list_models(sv: Sv, caller: Caller) -> dict[str, object]:
    await sv.mirrors.catch_up()  # a job that has just succeeded is in the list
    models = [model(deployment, sv) for deployment in sv.catalog.visible_to(caller.project_id)]
    return {"object": "list", "data": models}


@get("/v1/models/{model_id:path}")
async def retrieve_model(sv: Sv, caller: Caller, model_id: FromPath[str]) -> Model:
    """The id may contain slashes and colons: `org/name`, `ft:base:org:suffix:id`."""
    return model(await find_deployment(sv.catalog, sv.mirrors, model_id.removeprefix("/"), caller.project_id), sv)


def model(deployment: Deployment, sv: Services) -> Model:
    owner = sv.settings.organization if deployment.upstream.is_engine else deployment.upstream.name
    return Model(id=deployment.model, created=deployment.created, owned_by=owner)
