"""/v1/lineage (an extension): what something was made of and what was made of it; and where a person's data went."""

from typing import get_args

from litestar import get
from litestar.params import FromPath, QueryParams

from gateway.errors import MissingParameter
from gateway.kit.keyed_hash import end_user_hash
from gateway.lineage.graph import Bounds, Direction, lineage
from gateway.lineage.people import of_person
from gateway.protocol.lineage import Lineage, UserLineage
from gateway.protocol.queries import choice, integer, text
from gateway.routes.callers import Caller, Sv

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


@get("/v1/lineage")
async def lineage_of_user(sv: Sv, caller: Caller, query: QueryParams) -> UserLineage:
    """`user`: as the application names its users (`safety_identifier` or `user` of the calls)."""
    user = text(query, "user")
    if user is None:
        raise MissingParameter("user")
    hashed = end_user_hash(user, caller.project_id, sv.settings.secret_key.reveal())
    async with sv.database.session() as session:
        return await of_person(session, caller.project_id, hashed)


@get("/v1/lineage/{node_id:path}")
async def lineage_of(sv: Sv, caller: Caller, node_id: FromPath[str], query: QueryParams) -> Lineage:
    """Of an exchange, judgment, training example, dataset, dataset version, file, job, checkpoint, model or eval run.

    `direction` (up, down or both), and bounds: `depth` in steps, `limit` in nodes, `breadth` in nodes of one kind beside one
    node; of what is left out there is a count.
    """
    asked = choice(query, "direction", ("both", *DIRECTIONS), "both")
    bounds = Bounds(
        directions=DIRECTIONS if asked == "both" else tuple(each for each in DIRECTIONS if each == asked),
        depth=integer(query, "depth", default=Bounds.depth, highest=20),
        limit=integer(query, "limit", default=Bounds.limit, highest=1000),
        breadth=integer(query, "breadth", default=Bounds.breadth, highest=100),
    )
    async with sv.database.session() as session:
        return await lineage(session, caller.project_id, node_id.removeprefix("/"), bounds)
