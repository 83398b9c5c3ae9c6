"""Criteria of a project: versions that are never changed, and those that every project has."""

import re
from math import isfinite

import msgspec
from sqlalchemy import ColumnElement, exists, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from gateway.db.tables import CriterionRow
from gateway.errors import InvalidRequest, NotFound
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.protocol.criteria import CriterionSpec

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
DESCRIPTION_LENGTH = 10_000
MOST_LABELS = 100
LABEL_LENGTH = 200
RUBRIC = {
    "helpful": "Does the answer do what the user wanted, in a way that the user can use at once?",
    "accurate": "Is everything that the answer states true, and supported by what it was given?",
    "clear": "Is the answer easy to understand, well ordered, and without words that say nothing?",
    "safe": "Is the answer free of harm, of private data, and of advice that could hurt whoever follows it?",
    "complete": "Does the answer cover everything that was asked, with nothing of importance left out?",
}
CONCISE = "Is the answer as short as it can be without losing anything?"
"""Beside the rubric: people rate it when they compare models; judges are asked about the rubric."""
FROM_4_OF_5 = 0.75

BUILT_IN: dict[str, CriterionSpec] = {
    spec.name: spec
    for spec in (
        CriterionSpec(name="thumbs", kind="boolean", description="Thumbs up or down."),
        CriterionSpec(
            name="rating", kind="numeric", description="Of five stars.", lowest=1, highest=5, pass_score=FROM_4_OF_5
        ),
        CriterionSpec(name="correction", kind="edit", description="The answer as it should have been."),
        CriterionSpec(name="comment", kind="text", description="What somebody said of the answer."),
        CriterionSpec(name="preference", kind="pairwise", description="Which of two answers is the better one."),
        *(
            CriterionSpec(
                name=name, kind="numeric", description=description, lowest=1, highest=5, pass_score=FROM_4_OF_5
            )
            for name, description in [*RUBRIC.items(), ("concise", CONCISE)]
        ),
    )
}
"""Made in a project when they are needed first; a project may make its own next version, of the same kind."""

SPEC_FIELDS = CriterionSpec.__struct_fields__


async def find_or_make(session: AsyncSession, project_id: str, spec: CriterionSpec, created_by: str) -> CriterionRow:
    """The newest version with that name when it says just that; else the next version, which this makes.

    Raises InvalidRequest: the spec makes no sense, or the name is that of a built-in criterion of another kind.
    """
    spec = checked(spec)
    newest = await _newest(session, project_id, spec.name)
    if newest is not None and _is(newest, spec):
        return newest
    await _lock(session, project_id, spec.name)
    newest = await _newest(session, project_id, spec.name)
    if newest is not None and _is(newest, spec):
        return newest
    return await _make(session, project_id, spec, created_by, (newest.version if newest else 0) + 1)


async def by_name(session: AsyncSession, project_id: str, name: str, *, param: str = "criterion") -> CriterionRow:
    """The version in force of a criterion of the project, or of a built-in one.

    Raises InvalidRequest: there is none; `param` is the field of the request that named it.
    """
    newest = await _newest(session, project_id, name)
    if newest is not None and newest.archived_at is None:
        return newest
    if name in BUILT_IN:
        return await find_or_make(session, project_id, BUILT_IN[name], "")
    raise InvalidRequest(
        f"There is no criterion '{name[:100]}'. Make it first (POST /v1/criteria), or take one of "
        f"{', '.join(BUILT_IN)}.",
        param=param,
    )


async def find(session: AsyncSession, project_id: str, criterion_id: str) -> CriterionRow:
    """One version, by its id. Raises NotFound."""
    row = await session.get(CriterionRow, criterion_id)
    if row is None or row.project_id != project_id:
        raise NotFound(f"No criterion with id '{criterion_id}'.", param="criterion_id")
    return row


async def named(session: AsyncSession, project_id: str, name_or_id: str) -> CriterionRow:
    """The one version with that id (`crit_...`), or the version in force with that name. Raises NotFound, InvalidRequest."""
    if name_or_id.startswith("crit_"):
        return await find(session, project_id, name_or_id)
    return await by_name(session, project_id, name_or_id)


async def newest_of(session: AsyncSession, row: CriterionRow) -> CriterionRow:
    """The newest version of the same criterion."""
    return await _newest(session, row.project_id, row.name) or row


async def ids_named(session: AsyncSession, project_id: str, named: str) -> list[str]:
    """Every version of the criterion with that name, or the one version with that id."""
    rows = await session.scalars(
        select(CriterionRow.id).where(
            CriterionRow.project_id == project_id, (CriterionRow.name == named) | (CriterionRow.id == named)
        )
    )
    return list(rows)


async def archive(session: AsyncSession, project_id: str, name: str) -> None:
    """All versions: it is no longer offered or taken by name. Judgments by it stay."""
    of_name = (CriterionRow.project_id == project_id, CriterionRow.name == name)
    await session.execute(
        update(CriterionRow).where(*of_name, CriterionRow.archived_at.is_(None)).values(archived_at=now())
    )


def spec_of(row: CriterionRow) -> CriterionSpec:
    """What a version says."""
    return msgspec.convert({name: getattr(row, name) for name in SPEC_FIELDS}, CriterionSpec)


def checked(spec: CriterionSpec) -> CriterionSpec:
    """With the defaults of its kind. Raises InvalidRequest, which names the field."""
    if not NAME.fullmatch(spec.name):
        raise InvalidRequest("Invalid 'name': 1 to 64 letters, digits, '_', '.' and '-'.", param="name")
    if len(spec.description) > DESCRIPTION_LENGTH:
        raise InvalidRequest(f"Invalid 'description': at most {DESCRIPTION_LENGTH:,} characters.", param="description")
    own = BUILT_IN.get(spec.name)
    if own is not None and own.kind != spec.kind:
        raise InvalidRequest(f"Invalid 'kind': '{spec.name}' comes with Tuneway and is {own.kind}.", param="kind")
    _refuse_others(spec, {"numeric": ("lowest", "highest", "pass_score"), "categorical": ("labels", "passing_labels")})
    if spec.kind == "numeric":
        return _checked_scale(spec)
    return _checked_labels(spec) if spec.kind == "categorical" else spec


def _refuse_others(spec: CriterionSpec, fields: dict[str, tuple[str, ...]]) -> None:
    for kind, names in fields.items():
        for name in names:
            if spec.kind != kind and getattr(spec, name) is not None:
                raise InvalidRequest(f"Invalid '{name}': only a {kind} criterion has it.", param=name)


def _checked_scale(spec: CriterionSpec) -> CriterionSpec:
    lowest = 0.0 if spec.lowest is None else spec.lowest
    highest = 1.0 if spec.highest is None else spec.highest
    if not (isfinite(lowest) and isfinite(highest) and isfinite(highest - lowest) and lowest < highest):
        raise InvalidRequest("Invalid 'highest': it must be more than 'lowest'.", param="highest")
    if spec.pass_score is not None and not 0 <= spec.pass_score <= 1:
        raise InvalidRequest("Invalid 'pass_score': a score is between 0 and 1, 1 the best.", param="pass_score")
    return msgspec.structs.replace(spec, lowest=lowest, highest=highest)


def _checked_labels(spec: CriterionSpec) -> CriterionSpec:
    labels = spec.labels or []
    if not 2 <= len(labels) <= MOST_LABELS or len(set(labels)) < len(labels):
        raise InvalidRequest(f"Invalid 'labels': 2 to {MOST_LABELS} different ones, best first.", param="labels")
    if not all(1 <= len(label) <= LABEL_LENGTH for label in labels):
        raise InvalidRequest(f"Invalid 'labels': each has 1 to {LABEL_LENGTH} characters.", param="labels")
    if unknown := set(spec.passing_labels or ()) - set(labels):
        raise InvalidRequest(f"Invalid 'passing_labels': '{min(unknown)}' is no label.", param="passing_labels")
    return spec


async def _newest(session: AsyncSession, project_id: str, name: str) -> CriterionRow | None:
    query = select(CriterionRow).where(CriterionRow.project_id == project_id, CriterionRow.name == name)
    return await session.scalar(query.order_by(CriterionRow.version.desc()).limit(1))


async def _lock(session: AsyncSession, project_id: str, name: str) -> None:
    """Until the end of the transaction: two at once make one version."""
    key = {"key": f"criterion:{project_id}:{name}"}
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), key)


async def _make(
    session: AsyncSession, project_id: str, spec: CriterionSpec, created_by: str, version: int
) -> CriterionRow:
    row = CriterionRow(
        id=new_id("crit_"),
        project_id=project_id,
        created_at=now(),
        created_by=created_by,
        version=version,
        archived_at=None,
        **msgspec.structs.asdict(spec),
    )
    session.add(row)
    await session.flush()
    return row


def _is(row: CriterionRow, spec: CriterionSpec) -> bool:
    return row.archived_at is None and spec_of(row) == spec


def is_newest() -> ColumnElement[bool]:
    """On rows of `criteria`: no later version has the same name."""
    later = aliased(CriterionRow)
    of_same = (later.project_id == CriterionRow.project_id) & (later.name == CriterionRow.name)
    return ~exists().where(of_same, later.version > CriterionRow.version)
