"""What the types of a recipe cannot say."""

from collections.abc import Iterator

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.datasets.building.reading import HASHED
from gateway.db.tables import EvalRow, FileRow
from gateway.errors import InvalidRequest
from gateway.kit.keyed_hash import end_user_hash
from gateway.protocol.recipes import Contamination, Exchanges, Recipe

HASH_LENGTH = 32


def checked(recipe: Recipe, project_id: str, secret_key: str) -> Recipe:
    """As it is stored: people by their hashes. Raises InvalidRequest, which names the field."""
    for field, rule in _faults(recipe):
        raise InvalidRequest(f"Invalid 'recipe.{field}': {rule}", param=f"recipe.{field}")
    exchanges = recipe.sources.exchanges
    if exchanges is None or not exchanges.excluded_users:
        return recipe
    hashed = [_hashed(user, project_id, secret_key) for user in exchanges.excluded_users]
    known = msgspec.structs.replace(exchanges, excluded_users=hashed)
    return msgspec.structs.replace(recipe, sources=msgspec.structs.replace(recipe.sources, exchanges=known))


def _faults(recipe: Recipe) -> Iterator[tuple[str, str]]:
    exchanges, examples = recipe.sources.exchanges, recipe.sources.examples
    if exchanges is None and examples is None:
        yield "sources", "name exchanges or examples, or there is nothing to build of."
    if exchanges is not None and _ends_early(exchanges):
        yield "sources.exchanges.created_before", "it must be later than created_after."
    for place, condition in enumerate(recipe.criteria):
        if condition.min_score is None and not condition.labels and condition.passed is None:
            yield f"criteria[{place}]", "say min_score, labels or passed."
    if (recipe.system.prompt == "replace") != (recipe.system.text is not None):
        yield "system.text", "it goes with prompt 'replace', and only with that."
    if recipe.kind == "preference" and exchanges is not None and not recipe.pairs.sources:
        yield "pairs.sources", "name at least one."
    if recipe.kind == "preference" and recipe.turns.learn == "every":
        yield "turns.learn", "of a preference pair only the last answer is learnt."
    if recipe.kind == "sft" and recipe.pairs != type(recipe.pairs)():
        yield "pairs", "only recipes of kind 'preference' have pairs."


def _ends_early(exchanges: Exchanges) -> bool:
    after, before = exchanges.created_after, exchanges.created_before
    return after is not None and before is not None and before <= after


def _hashed(user: str, project_id: str, secret_key: str) -> str:
    """A hash of a stored recipe is taken as it is."""
    named = user.removeprefix(HASHED)
    if named != user and len(named) == HASH_LENGTH and set(named) <= set("0123456789abcdef"):
        return user
    return HASHED + end_user_hash(user, project_id, secret_key)


async def check_suites(session: AsyncSession, project_id: str, wanted: Contamination) -> None:
    """Raises InvalidRequest: an eval or a file that the project does not have, which must not pass for clean."""
    evals = select(EvalRow.id).where(
        EvalRow.project_id == project_id, EvalRow.deleted_at.is_(None), EvalRow.id.in_(wanted.evals)
    )
    files = select(FileRow.id).where(
        FileRow.project_id == project_id,
        FileRow.deleted_at.is_(None),
        FileRow.expires_at.is_(None) | (FileRow.expires_at > func.now()),
        FileRow.id.in_(wanted.files),
    )
    for name, kind, asked, query in (("evals", "eval", wanted.evals, evals), ("files", "File", wanted.files, files)):
        found = set(await session.scalars(query)) if asked else set[str]()
        if missing := [each for each in asked if each not in found]:
            raise InvalidRequest(f"No such {kind} object: {missing[0]}", param=f"recipe.contamination.{name}")
