"""Routes that take their rules from a judge."""

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import JudgeVersionRow
from gateway.errors import ECHO_LIMIT, InvalidRequest, NotFound
from gateway.judging import repository, specs
from gateway.protocol.judges import RuleSpec
from gateway.protocol.routes import Check, RouteSpec


async def with_rules(session: AsyncSession, spec: RouteSpec, project_id: str | None) -> RouteSpec:
    """A spec whose checks have the rules of the judges that they name, as these are now.

    Raises InvalidRequest: there is no such judge, or it has no rules.
    """
    checks = [
        await _with_rules(session, check, f"checks[{place}].judge", project_id) if check.judge is not None else check
        for place, check in enumerate(spec.checks)
    ]
    return msgspec.structs.replace(spec, checks=tuple(checks))


async def _with_rules(session: AsyncSession, check: Check, param: str, project_id: str | None) -> Check:
    version = await _version(session, check.judge or "", param, project_id)
    found = specs.read(version.spec)
    if not isinstance(found, RuleSpec):
        message = f"Invalid '{param}': a model takes too long to judge an answer that waits. Let it `watch` the route."
        raise InvalidRequest(message, param=param)
    rules: list[dict[str, object]] = msgspec.to_builtins(found.rules)
    return msgspec.structs.replace(check, rules=tuple(rules), judge_version_id=version.id)


async def _version(session: AsyncSession, name: str, param: str, project_id: str | None) -> JudgeVersionRow:
    if project_id is None:
        message = f"Invalid '{param}': a judge belongs to a project, and every project may call this route."
        raise InvalidRequest(
            f"{message} Give the route that `project_id`, or the check `rules` of its own.", param=param
        )
    try:
        judge = await repository.changeable(session, project_id, name)
    except NotFound:
        message = f"Invalid '{param}': the project has no judge `{name[:ECHO_LIMIT]}`."
        raise InvalidRequest(message, param=param) from None
    return await repository.version(session, judge)
