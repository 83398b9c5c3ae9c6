"""Finding a model, also one that exists only since a moment ago."""

from gateway.db.mirror import Mirrors
from gateway.errors import ModelLoading, ModelNotFound, ModelUnservable, Refusal
from gateway.routing.catalog import Catalog, Deployment

TUNED = "ft:"


async def find_deployment(catalog: Catalog, mirrors: Mirrors, model: str, project_id: str) -> Deployment:
    """Where `model` is served; from memory, except for a fine-tuned model that this process does not know.

    Its job may have ended within the mirror's poll: a script that sees `succeeded` calls the model at once, and no SDK
    tries a 404 again. So such a name is worth one look at the database.

    Raises:
        ModelNotFound: it does not exist, or belongs to another project.
    """
    try:
        return catalog.find(model, project_id)
    except ModelNotFound:
        if not model.startswith(TUNED):
            raise
    await mirrors.catch_up()
    return catalog.find(model, project_id)


def not_served(deployment: Deployment) -> Refusal:
    """What to answer when the engine does not know a fine-tuned model that exists: soon, or why never."""
    if deployment.problem:
        return ModelUnservable(deployment.model, deployment.problem)
    return ModelLoading(f"The model `{deployment.model}` is being loaded; please retry.")
