"""Judges, what they judge, and models that answer as a test wants, without a gateway."""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import select

from gateway.asking import Asked, NotAsked
from gateway.db.database import Database
from gateway.db.tables import (
    CriterionRow,
    ExchangeRow,
    JudgeRow,
    JudgeVersionRow,
    JudgingTaskRow,
    JudgmentRow,
    ProjectRow,
)
from gateway.exchanges.rows import exchange_row
from gateway.judging import repository, specs, watching, work
from gateway.judgments import criteria
from gateway.judgments import repository as judgments
from gateway.judgments.verdict import Verdict
from gateway.kit.clock import now
from gateway.kit.ids import NANOSECONDS
from gateway.protocol.judges import LlmSpec, Spec, Watch
from gateway.services import WorkerServices
from gateway.tasks.judge_answers import Judging
from tests.gateway.exchanges.records import exchange
from tests.polling import until

PROJECT = "proj_judged"
AtOnce = Callable[[dict[str, Any]], str]
"""What a model says to a call at once."""
Answering = AtOnce | Callable[[dict[str, Any]], Awaitable[str]]
"""Or after a while."""


def material(body: dict[str, Any]) -> dict[str, Any]:
    """What a judge was shown."""
    return json.loads(body["messages"][-1]["content"].split("\n")[1])


def key_of(body: dict[str, Any]) -> str:
    found = re.search(r"Material (\w+)", body["messages"][-1]["content"])
    assert found is not None
    return found[1]


def says(result: Any) -> AtOnce:
    """An obedient judge with one opinion."""
    return lambda body: json.dumps({"key": key_of(body), "reason": "because", "result": result})


def prefers(word: str) -> AtOnce:
    """A judge of comparisons that likes answers with a word in them."""

    def answer(body: dict[str, Any]) -> str:
        first = word in material(body)["first_answer"]["content"]
        return says("first" if first else "second")(body)

    return answer


def echo(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


@dataclass
class FakeAsking:
    """In the place of gateway/asking.py: answers by model, or fails."""

    models: dict[str, Answering | NotAsked] = field(default_factory=dict[str, "Answering | NotAsked"])
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    purposes: set[str] = field(default_factory=set[str])

    async def chat(self, project_id: str, purpose: str, body: dict[str, Any]) -> Asked:
        self.bodies.append(body)
        number = len(self.bodies)
        self.purposes.add(purpose)
        answer = self.models[body["model"]]
        if isinstance(answer, NotAsked):
            raise answer
        said = answer(body)
        said = said if isinstance(said, str) else await said
        message = {"role": "assistant", "content": said, "refusal": None}
        reply = {"model": body["model"], "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        return Asked(json.dumps(reply).encode(), f"req_judge{number}", 1000, 5.0)

    async def close(self) -> None: ...


@dataclass
class World:
    """A project whose answers are judged."""

    database: Database
    project_id: str = PROJECT
    _made: int = 0

    async def open(self) -> "World":
        async with self.database.session() as session:
            session.add(ProjectRow(id=self.project_id, name=self.project_id, created_at=now()))
        return self

    async def criterion(self, name: str = "helpful") -> CriterionRow:
        async with self.database.session() as session:
            return await criteria.by_name(session, self.project_id, name)

    async def judge(
        self,
        spec: Spec | None = None,
        *,
        name: str = "j",
        criterion: str = "helpful",
        watch: Watch | None = None,
        since: datetime | None = None,
    ) -> tuple[JudgeRow, JudgeVersionRow]:
        """A new one; it watches from `since` on."""
        spec = spec or LlmSpec(model="five")
        by = await self.criterion(criterion)
        async with self.database.session() as session:
            row = await repository.create(
                session,
                self.project_id,
                name,
                specs.kind_of(spec),
                watch=watching.begin(watch, since or now()),
                min_kappa=None,
            )
            version = await repository.add_version(session, row, by, specs.stored(specs.check(spec, by)), "key_1")
        return row, version

    async def answer(self, *texts: str, text: str = "hi", at: datetime | None = None, **changes: Any) -> str:
        """An exchange that is in the log, with a choice for each text; its id."""
        self._made += 1
        moment = at or now()
        id = changes.pop("id", f"req_{int(moment.timestamp() * NANOSECONDS):016x}{self._made:016x}")
        request = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
        choices = [
            {"index": index, "message": {"role": "assistant", "content": each}}
            for index, each in enumerate(texts or (text,))
        ]
        reply = {"id": f"chatcmpl-{self._made}", "model": "m", "choices": choices}
        given: dict[str, Any] = {
            "project_id": self.project_id,
            "created_at": moment.timestamp(),
            "request": json.dumps(request).encode(),
            "reply": json.dumps(reply).encode(),
            "reply_id": reply["id"],
            "request_metadata": None,
        } | changes
        values = exchange_row(exchange(id, **given))
        for column in ("attempts", "error", "request_metadata"):
            values[column] = msgspec.json.decode(values[column]) if values[column] else None
        async with self.database.session() as session:
            session.add(ExchangeRow(**{name: value for name, value in values.items() if value is not None}))
        return id

    async def ask(self, version: JudgeVersionRow, *wanted: Any, repeats: int = 1) -> int:
        """Have answers (ids) or pairs of them judged."""
        pairs = [each if isinstance(each, tuple) else (each, None) for each in wanted]
        async with self.database.session() as session:
            return await work.request(session, version, self.project_id, pairs, repeats)

    async def people_say(self, criterion: CriterionRow, exchange_id: str, passed: bool | None, **changes: Any) -> None:
        given: dict[str, Any] = {
            "project_id": self.project_id,
            "exchange_id": exchange_id,
            "criterion_id": criterion.id,
            "kind": criterion.kind,
            "source": "human",
            "annotator_id": "user_1",
            "score": None if passed is None else float(passed),
            "passed": passed,
        } | changes
        async with self.database.session() as session:
            await judgments.add(session, [Verdict(**given)])

    async def tasks(self) -> list[JudgingTaskRow]:
        async with self.database.session() as session:
            query = select(JudgingTaskRow).where(JudgingTaskRow.project_id == self.project_id)
            return list(await session.scalars(query.order_by(JudgingTaskRow.exchange_id, JudgingTaskRow.choice_index)))

    async def judged(self, *, parts: bool = False) -> list[JudgmentRow]:
        """Judgments by judges in force, oldest first; parts of panels and comparisons only with `parts`."""
        query = select(JudgmentRow).where(
            JudgmentRow.project_id == self.project_id,
            JudgmentRow.judge_version_id.is_not(None),
            JudgmentRow.superseded_at.is_(None),
        )
        async with self.database.session() as session:
            rows = list(await session.scalars(query.order_by(JudgmentRow.id)))
        return [row for row in rows if parts or not (row.identifier or row.order_shown)]

    async def expire_leases(self) -> None:
        """As if a minute had gone by without a sign of life."""
        async with self.database.session() as session:
            for row in await session.scalars(select(JudgingTaskRow).where(JudgingTaskRow.leased_until.is_not(None))):
                row.leased_until = now() - timedelta(seconds=1)

    async def work_off(self, wv: WorkerServices) -> None:
        """Until nothing is due."""
        await Judging(wv).begin()

        async def idle() -> bool:
            rows = await self.tasks()
            return all(row.done_at is not None or (row.leased_until is None and row.due_at > now()) for row in rows)

        await until(idle)

    async def make_due(self) -> None:
        """As if the wait before the next try were over."""
        async with self.database.session() as session:
            for row in await session.scalars(select(JudgingTaskRow)):
                row.due_at = now()
