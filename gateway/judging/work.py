"""What judges still have to judge, and who is at it.

A task is taken for LEASE_SECONDS at a time, and whoever is at it renews that: when a worker dies, another goes on. A task
is done in the transaction that writes its judgment, so none is lost, and none is written twice.

A call is asked for once, with its first choice. Whoever begins that one reads the reply, and adds a task for each other
choice that is in it: before the first one is done, so that nothing seems to be ready while choices still wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import JudgeVersionRow, JudgingTaskRow
from gateway.kit.clock import now

LEASE_SECONDS = 60.0
RENEW_SECONDS = 15.0
MAX_TRIES = 6
WAITS = (5.0, 20.0, 60.0, 180.0, 600.0)
"""Seconds after each try that may succeed later."""
LONGEST_WAIT = 900.0
"""However long an answer says to wait."""
MOST_CHOICES = 16
"""Of one reply: a judge that watches calls with `n` of 128 would cost more than what it watches."""
KEPT = timedelta(days=30)
"""Done tasks: longer than the sampling round looks back (watching.py)."""

NEW_ID = "'jtask_' || replace(CAST(gen_random_uuid() AS text), '-', '')"
WANTED = "unnest(CAST(:exchanges AS text[]), CAST(:others AS text[])) AS w(exchange_id, other_id)"
REOPEN = text(f"""
UPDATE judging_tasks t
SET created_at = now(), due_at = now(), done_at = NULL, tries = 0, leased_until = NULL, lease_holder = NULL
FROM {WANTED} WHERE t.judge_version_id = CAST(:version AS text) AND t.exchange_id = w.exchange_id
AND coalesce(t.other_exchange_id, '') = coalesce(w.other_id, '') AND t.attempt < CAST(:repeats AS int)
AND t.done_at IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM judgments j WHERE j.project_id = t.project_id AND j.exchange_id = t.exchange_id
    AND j.choice_index = t.choice_index AND j.judge_version_id = t.judge_version_id
    AND coalesce(j.other_exchange_id, '') = coalesce(t.other_exchange_id, '')
    AND j.attempt = t.attempt AND j.identifier = '' AND j.order_shown IS NULL AND j.superseded_at IS NULL
    AND j.status = 'ok')
RETURNING 1
""")  # noqa: S608
"""Every choice that ended in an error."""
REQUEST = text(f"""
INSERT INTO judging_tasks (id, project_id, judge_version_id, exchange_id, other_exchange_id, attempt, created_at, due_at)
SELECT {NEW_ID}, CAST(:project AS text), CAST(:version AS text), w.exchange_id, w.other_id, a.n, now(), now()
FROM {WANTED} CROSS JOIN generate_series(0, CAST(:repeats AS int) - 1) AS a(n)
ON CONFLICT DO NOTHING RETURNING 1
""")  # noqa: S608
ADD_CHOICES = text(f"""
INSERT INTO judging_tasks
    (id, project_id, judge_version_id, exchange_id, choice_index, attempt, sampling, created_at, due_at)
SELECT {NEW_ID}, t.project_id, t.judge_version_id, t.exchange_id, c.n, t.attempt, t.sampling, t.created_at, now()
FROM (
    SELECT t.* FROM judging_tasks t JOIN judge_versions v ON v.id = t.judge_version_id JOIN judges g ON g.id = v.judge_id
    WHERE t.id = :id AND g.archived_at IS NULL FOR SHARE OF g
) t CROSS JOIN unnest(CAST(:choices AS bigint[])) AS c(n)
ON CONFLICT DO NOTHING
""")  # noqa: S608
"""They have waited since the first one has. The lock: a judge that is archived meanwhile leaves none behind."""

CLAIM = text("""
WITH due AS MATERIALIZED (
    SELECT t.id FROM (SELECT DISTINCT project_id FROM judges WHERE archived_at IS NULL) p CROSS JOIN LATERAL (
        SELECT id FROM judging_tasks
        WHERE project_id = p.project_id AND done_at IS NULL AND due_at <= now()
        AND (leased_until IS NULL OR leased_until < now())
        ORDER BY due_at
        LIMIT CAST(:most AS int)
        FOR UPDATE SKIP LOCKED
    ) t ORDER BY random() LIMIT CAST(:most AS int)
)
UPDATE judging_tasks t SET tries = t.tries + 1, lease_holder = CAST(:holder AS text),
    leased_until = now() + make_interval(secs => CAST(:lease AS float8))
FROM due WHERE t.id = due.id
RETURNING t.id, t.project_id, t.judge_version_id, t.exchange_id, t.choice_index, t.other_exchange_id, t.attempt,
    t.sampling, t.tries
""")

HELD = "id = :id AND lease_holder = :holder AND done_at IS NULL"
OURS = text(f"SELECT 1 FROM judging_tasks WHERE {HELD} FOR UPDATE")  # noqa: S608
FINISH = text(f"UPDATE judging_tasks SET done_at = now(), leased_until = NULL WHERE {HELD} RETURNING 1")  # noqa: S608
POSTPONE = text(
    f"UPDATE judging_tasks SET leased_until = NULL, due_at = now() + make_interval(secs => :seconds) WHERE {HELD}"  # noqa: S608
)
GIVE_BACK = text(
    f"UPDATE judging_tasks SET leased_until = NULL, lease_holder = NULL, tries = tries - 1 WHERE {HELD}"  # noqa: S608
)
RENEW = text("""
UPDATE judging_tasks SET leased_until = now() + make_interval(secs => CAST(:lease AS float8))
WHERE id = ANY(CAST(:ids AS text[])) AND lease_holder = :holder AND done_at IS NULL
""")


@dataclass(frozen=True, slots=True)
class Claim:
    """A task that this process is at."""

    id: str
    project_id: str
    judge_version_id: str
    exchange_id: str
    choice_index: int
    other_exchange_id: str | None
    attempt: int
    sampling: dict[str, Any] | None
    tries: int
    """With this one."""
    holder: str

    @property
    def is_last_try(self) -> bool:
        return self.tries >= MAX_TRIES


async def request(
    session: AsyncSession,
    version: JudgeVersionRow,
    project_id: str,
    wanted: Sequence[tuple[str, str | None]],
    repeats: int,
) -> int:
    """Have answers judged (with `None`) or pairs compared; how many judgments are to come of it, those of further choices
    not counted that nobody has looked for yet.

    What is waiting or was judged is left as it is; what ended in an error is tried anew.
    """
    ordered = sorted({_canonical(*each) for each in wanted}, key=lambda each: (each[0], each[1] or ""))
    values = {
        "project": project_id,
        "version": version.id,
        "exchanges": [exchange for exchange, _ in ordered],
        "others": [other for _, other in ordered],
        "repeats": repeats,
    }
    return sum([len((await session.execute(each, values)).all()) for each in (REOPEN, REQUEST)])


def _canonical(exchange_id: str, other_id: str | None) -> tuple[str, str | None]:
    """A pair is the same whichever comes first."""
    return (other_id, exchange_id) if other_id is not None and other_id < exchange_id else (exchange_id, other_id)


async def claim(session: AsyncSession, holder: str, most: int, lease_seconds: float = LEASE_SECONDS) -> list[Claim]:
    """Take what is due; no project waits for another's backlog."""
    found = await session.execute(CLAIM, {"most": most, "holder": holder, "lease": lease_seconds})
    return [Claim(**row, holder=holder) for row in found.mappings()]


async def add_choices(session: AsyncSession, first: Claim, choices: Sequence[int]) -> None:
    """Have further choices of the same reply judged, too; harmless when repeated."""
    await session.execute(ADD_CHOICES, {"id": first.id, "choices": list(choices)})


async def renew(session: AsyncSession, holder: str, ids: Sequence[str], lease_seconds: float = LEASE_SECONDS) -> None:
    await session.execute(RENEW, {"holder": holder, "ids": list(ids), "lease": lease_seconds})


async def is_ours(session: AsyncSession, each: Claim) -> bool:
    """Whether the task still is; then it stays so until the end of the transaction."""
    return await session.scalar(OURS, {"id": each.id, "holder": each.holder}) is not None


async def finish(session: AsyncSession, each: Claim) -> bool:
    """Whether the task was still ours; then it is done with this transaction."""
    return await session.scalar(FINISH, {"id": each.id, "holder": each.holder}) is not None


async def postpone(session: AsyncSession, each: Claim, seconds: float | None = None) -> None:
    """Let it be tried later. Args: seconds: as the answer said; else the longer, the more often it was tried."""
    wait = WAITS[min(each.tries, len(WAITS)) - 1]
    seconds = min(max(wait, seconds or 0.0), LONGEST_WAIT)
    await session.execute(POSTPONE, {"id": each.id, "holder": each.holder, "seconds": seconds})


async def give_back(session: AsyncSession, each: Claim) -> None:
    """Let another take it at once, as if it had not been begun: this process stops."""
    await session.execute(GIVE_BACK, {"id": each.id, "holder": each.holder})


async def remove_waiting(session: AsyncSession, judge_id: str) -> None:
    """Of a judge that is archived."""
    versions = select(JudgeVersionRow.id).where(JudgeVersionRow.judge_id == judge_id)
    waiting = (JudgingTaskRow.judge_version_id.in_(versions), JudgingTaskRow.done_at.is_(None))
    await session.execute(delete(JudgingTaskRow).where(*waiting))


async def remove_old(session: AsyncSession) -> None:
    """What was done long ago."""
    await session.execute(delete(JudgingTaskRow).where(JudgingTaskRow.done_at < now() - KEPT))
