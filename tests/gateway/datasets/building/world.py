"""A project with logged calls and judgments of them, at chosen moments, and versions built of it."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import insert

from gateway.datasets.building.build import Built, Order, build
from gateway.datasets.building.grounds import Means
from gateway.datasets.building.reading import Snapshot
from gateway.datasets.building.workplace import Workplace
from gateway.db.database import Database
from gateway.db.tables import CriterionRow, ExchangeDeletionRow, ExchangeRow, JudgeRow, JudgeVersionRow, JudgmentRow
from gateway.exchanges.subjects import subject
from gateway.judgments.criteria import BUILT_IN, find_or_make
from gateway.protocol.dataset_versions import DatasetReport
from gateway.protocol.recipes import Recipe
from judges.rules.behaviour import is_refusal

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
SNAPSHOT = BEGIN + timedelta(days=1)
WORDS = [
    "amber",
    "basket",
    "copper",
    "dragon",
    "ember",
    "falcon",
    "garden",
    "harbor",
    "island",
    "jacket",
    "kettle",
    "lantern",
    "meadow",
    "needle",
    "orchard",
    "pepper",
    "quarry",
    "ribbon",
    "saddle",
    "timber",
    "umbrella",
    "velvet",
    "walnut",
    "yellow",
    "zephyr",
    "anchor",
    "bottle",
    "candle",
    "desert",
    "engine",
    "forest",
    "gravel",
    "hammer",
]


def sentence(seed: int, length: int = 14) -> str:
    """Words that have little in common with those of other seeds."""
    places = [(seed * 7919 + place * place * 104_729 + seed * seed * place) % len(WORDS) for place in range(length)]
    return " ".join(f"{WORDS[place]}{seed}" for place in places)


@dataclass
class World:
    """Rows are collected, then written by `store` in any order."""

    database: Database
    project_id: str
    exchanges: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    judgments: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    criteria: dict[str, CriterionRow] = field(default_factory=dict[str, CriterionRow])

    def call(self, question: str | list[dict[str, Any]], *answers: Any, **more: Any) -> str:
        """One logged call with an answer for each choice; its id. `reply` and `request` add to the bodies."""
        number = len(self.exchanges)
        messages = [{"role": "user", "content": question}] if isinstance(question, str) else question
        choices = [
            {
                "index": index,
                "finish_reason": more.get("finish_reason", "stop"),
                "message": answer if isinstance(answer, dict) else {"role": "assistant", "content": answer},
            }
            for index, answer in enumerate(answers)
        ]
        request = {"model": "echo", "messages": messages, **more.pop("request", {})}
        more.pop("finish_reason", None)
        created = more.pop("created_at", BEGIN + timedelta(seconds=number))
        row: dict[str, Any] = {
            "id": f"req_{int(created.timestamp() * 1e9):016x}{number:016x}",
            "created_at": created,
            "project_id": self.project_id,
            "api_key_id": "key",
            "endpoint": "/v1/chat/completions",
            "requested_model": "echo",
            "served_model": "echo",
            "streamed": False,
            "outcome": "completed",
            "status": 200,
            "request": json.dumps(request).encode(),
            "reply": json.dumps({"id": f"chatcmpl-{number}", "model": "echo", "choices": choices}).encode(),
            "usage_estimated": False,
            "priced": True,
            "duration_ms": 5.0,
            "route": None,
            "request_metadata": None,
            "end_user": None,
            "purpose": "",
            "logging": "full",
        }
        self.exchanges.append(row | more)
        return (row | more)["id"]

    async def criterion(self, name: str) -> CriterionRow:
        if name not in self.criteria:
            async with self.database.session() as session:
                self.criteria[name] = await find_or_make(session, self.project_id, BUILT_IN[name], "")
                self.criteria[name].created_at = BEGIN
        return self.criteria[name]

    async def judge(self, exchange_id: str, **said: Any) -> str:
        """One judgment; a person's thumb unless `said` says otherwise. Its id."""
        criterion = await self.criterion(said.pop("criterion", "thumbs"))
        number = len(self.judgments)
        row: dict[str, Any] = {
            "id": f"judgment_{number:032x}",
            "project_id": self.project_id,
            "created_at": BEGIN + timedelta(hours=1, seconds=number),
            "exchange_id": exchange_id,
            "choice_index": 0,
            "other_exchange_id": None,
            "other_choice_index": None,
            "eval_run_id": None,
            "source": "human",
            "judge_version_id": None,
            "annotator_id": f"person-{number}",
            "criterion_id": criterion.id,
            "kind": criterion.kind,
            "score": None,
            "label": None,
            "passed": None,
            "preference": None,
            "edited_message": None,
            "status": "ok",
            "order_shown": None,
            "derived_from": None,
            "superseded_at": None,
            "identifier": str(number),
            "tags": [],
        }
        self.judgments.append(row | said)
        return (row | said)["id"]

    async def thumb(self, exchange_id: str, up: bool = True, **said: Any) -> str:
        return await self.judge(exchange_id, passed=up, score=float(up), **said)

    async def edit(self, exchange_id: str, text: str, **said: Any) -> str:
        message = {"role": "assistant", "content": text}
        return await self.judge(exchange_id, criterion="correction", edited_message=message, **said)

    async def vote(self, exchange_id: str, other_id: str, preference: str, **said: Any) -> str:
        return await self.judge(
            exchange_id, criterion="preference", other_exchange_id=other_id, preference=preference, **said
        )

    async def judge_version(self, kind: str = "llm", name: str = "rubric") -> str:
        """A judge's version; its id."""
        criterion = await self.criterion("helpful")
        judge_id, version_id = f"judge_{name}", f"judgever_{name}"
        async with self.database.session() as session:
            session.add(
                JudgeRow(
                    id=judge_id, project_id=self.project_id, name=name, kind=kind, version=1, watch=None,
                    created_at=BEGIN, updated_at=BEGIN,
                )
            )  # fmt: skip
            await session.flush()
            session.add(
                JudgeVersionRow(
                    id=version_id, judge_id=judge_id, number=1, criterion_id=criterion.id, spec={}, spec_sha256="",
                    created_at=BEGIN, created_by="",
                )
            )  # fmt: skip
        return version_id

    async def delete(self, exchange_id: str) -> None:
        async with self.database.session() as session:
            session.add(
                ExchangeDeletionRow(
                    exchange_id=exchange_id, project_id=self.project_id, deleted_at=SNAPSHOT, deleted_by=""
                )
            )

    async def store(self, *, backwards: bool = False) -> None:
        """Write the rows; `backwards`: in the opposite order on disk."""
        async with self.database.session() as session:
            for table, rows in ((ExchangeRow, self.exchanges), (JudgmentRow, self.judgments)):
                for row in rows[::-1] if backwards else rows:
                    await session.execute(insert(table).values(**row))


@dataclass(frozen=True)
class Version:
    """What was built."""

    training: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    report: DatasetReport
    sha256: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return self.training + self.validation

    @property
    def dropped(self) -> dict[str, int]:
        return {each.reason: each.count for each in self.report.dropped}

    @property
    def answers(self) -> list[str]:
        """Of rows of SFT, the last answers; of pairs, the chosen ones."""
        if self.report.format == "chat":
            return [line["messages"][-1]["content"] for line in self.lines]
        return [line["preferred_output"][0]["content"] for line in self.lines]


def recipe(kind: str = "sft", **fields: Any) -> Recipe:
    """Nothing is set aside for validation unless it is asked for."""
    return msgspec.convert({"kind": kind, "split": {"validation": 0}} | fields, Recipe)


def pairs(*sources: str, **fields: Any) -> Recipe:
    """A recipe of pairs from these sources alone."""
    rules = {"sources": list(sources)} | fields.pop("pairs", {})
    return recipe("preference", pairs=rules, **fields)


def sides(version: Version) -> list[tuple[str, str]]:
    """Chosen and rejected."""
    return [
        (line["preferred_output"][0]["content"], line["non_preferred_output"][0]["content"]) for line in version.lines
    ]


async def built(
    world: World,
    directory: Path,
    wanted: Recipe,
    *,
    trusted: Collection[str] = (),
    at: datetime = SNAPSHOT,
    suites: Sequence[Path] = (),
) -> Version:
    """Build a version; nothing of it is left in `directory`."""

    async def shown(judges: Collection[str]) -> frozenset[str]:
        return frozenset(judges) & frozenset(trusted)

    means = Means(world.database, subject, is_refusal, shown)
    order = Order("dataset_1", "dsver_1", wanted, Snapshot(world.project_id, at), suites)
    work = Workplace(directory, "dsver_1")
    try:
        return _version(await build(means, order, work, lambda _: None))
    finally:
        work.close()


def _version(made: Built) -> Version:
    lines = {
        split: [json.loads(line) for line in file.path.read_bytes().splitlines()]
        for split, file in made.written.files.items()
    }
    return Version(lines["training"], lines["validation"], made.report, made.written.content_sha256)
