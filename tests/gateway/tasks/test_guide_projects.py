"""What guidance is made of, read from the database."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from gateway.db.database import Database
from gateway.db.tables import (
    CalibrationRow,
    EvalOutputItemRow,
    EvalRow,
    EvalRunRow,
    FineTuningCheckpointRow,
    FineTuningEventRow,
    JudgmentRow,
    ModelRow,
    RouteRevisionRow,
)
from gateway.guidance import reading
from gateway.guidance.material import Material
from gateway.judgments import repository as judgments
from gateway.kit.clock import from_unix, now
from gateway.protocol.guidance import GuidanceFilters
from gateway.services import Services
from gateway.tasks.guide_projects import gather
from tests.fakes.tuned_models import add_job, add_tuned
from tests.gateway.judgments.verdicts import built_in, verdict
from tests.gateway.routes.test_model_traffic import START, write

pytestmark = pytest.mark.anyio


@pytest.fixture
def project(project_key: dict[str, Any]) -> str:
    return project_key["project_id"]


def id_of(number: int) -> str:
    """Of the exchange that `write` made as the number-th."""
    return f"req_{(START + number) * 10**9:016x}{number:016x}"


async def gathered(database: Database, project: str, **filters: Any) -> Material:
    async with database.session() as session:
        return await gather(session, project, GuidanceFilters(**filters))


async def judge(database: Database, project: str, *numbers: int, **changes: Any) -> list[str]:
    """Thumbs down for these exchanges."""
    criterion = await built_in(database, changes.pop("criterion", "thumbs"), project)
    down = {"passed": False, "score": 0.0}
    async with database.session() as session:
        return await judgments.add(
            session, [verdict(criterion, exchange_id=id_of(each), **down | changes) for each in numbers]
        )


class TestVerdicts:
    async def test_those_in_force_on_answers_of_real_traffic(self, database: Database, project: str) -> None:
        await write(database, project, *[{}] * 6)
        await judge(database, project, 0, 1, annotator_id="a")
        await judge(database, project, 1, annotator_id="a", passed=True, score=1.0)  # in its place
        await judge(database, project, 2, eval_run_id="evalrun_1")
        await judge(database, project, 3, source="llm", identifier="a member of a panel")
        await judge(database, project, 4, status="error", passed=None, score=None, error_code="parse")
        await judge(database, project, 5, kind="pairwise", other_exchange_id=id_of(0), passed=None, preference="a")
        found = await gathered(database, project)
        assert {(each.exchange_id, each.passed) for each in found.judged} == {(id_of(0), False), (id_of(1), True)}
        assert found.complete

    async def test_their_answers_are_told_of(self, database: Database, project: str) -> None:
        await write(
            database,
            project,
            {"route": "shop@2", "request_metadata": {"team": "a", "text": "x" * 101}, "end_user": "u"},
        )
        await judge(database, project, 0, tags=["too long"])
        [found] = (await gathered(database, project)).judged
        assert (found.model, found.route, found.metadata, found.end_user) == ("a", "shop@2", {"team": "a"}, "u")
        assert (found.at, found.tags) == (START, ["too long"])

    async def test_page_after_page_up_to_the_bound(
        self, database: Database, project: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reading, "PAGE", 2)
        monkeypatch.setattr(reading, "JUDGMENTS", 5)
        await write(database, project, *[{}] * 7)
        await judge(database, project, *range(4))
        assert len((await gathered(database, project)).judged) == 4
        assert (await gathered(database, project)).complete
        await judge(database, project, 4, 5, 6)
        found = await gathered(database, project)
        assert [each.exchange_id for each in found.judged] == [id_of(each) for each in (6, 5, 4, 3, 2)]
        assert not found.complete

    async def test_of_a_time_by_the_answer(self, database: Database, project: str) -> None:
        await write(database, project, *[{}] * 4)
        ids = await judge(database, project, *range(4))
        async with database.session() as session:
            for number, id in enumerate(ids):
                own = f"judgment_{(START + number) * 10**9:016x}{number:016x}"
                moved = update(JudgmentRow).where(JudgmentRow.id == id).values(id=own, created_at=from_unix(START))
                await session.execute(moved)
        found = await gathered(database, project, created_after=START + 1, created_before=START + 3)
        assert {each.exchange_id for each in found.judged} == {id_of(1), id_of(2)}

    async def test_whether_a_judge_is_trusted(
        self, database: Database, project: str, client: httpx.AsyncClient
    ) -> None:
        body = {"name": "j", "criterion": "helpful", "spec": {"type": "llm", "model": "echo"}}
        made = (await client.post("/v1/judges", json=body)).json()
        version = made["version"]["id"]
        await write(database, project, {}, {})
        criterion = await built_in(database, "helpful", project)
        await judge(
            database, project, 0, criterion="helpful", source="llm", judge_version_id=version, annotator_id=None
        )
        found = (await gathered(database, project)).judges[version]
        assert (found.name, found.trusted, found.kappa_low) == ("j", False, None)
        async with database.session() as session:
            session.add(
                CalibrationRow(
                    id="cal_1", project_id=project, judge_version_id=version, criterion_id=criterion.id, created_at=now(),
                    n=40, kappa=0.8, kappa_low=0.6, kappa_high=0.9, sensitivity=None, specificity=None, report={},
                )
            )  # fmt: skip
        found = (await gathered(database, project)).judges[version]
        assert (found.trusted, found.kappa, found.n) == (True, 0.8, 40)


class TestCalls:
    async def test_of_applications_alone(self, database: Database, project: str) -> None:
        await write(database, project, {}, {"purpose": "judge"}, {"purpose": "guidance"}, {"logging": "off"})
        assert [each.exchange_id for each in (await gathered(database, project)).called] == [id_of(0)]

    async def test_why_they_failed_and_who_was_asked_first(self, database: Database, project: str) -> None:
        tries = [{"model": "a", "upstream": "u", "failure": "timeout", "ms": 1.0}, {"model": "b", "upstream": "u"}]
        await write(
            database,
            project,
            {"attempts": tries, "served_model": "b"},
            {"outcome": "failed", "status": 502, "error": {"code": "upstream_failed"}, "served_model": None},
        )
        failed, fallen = (await gathered(database, project)).called
        assert (failed.code, failed.model, failed.failure) == ("upstream_failed", "shop", None)
        assert (fallen.failed_model, fallen.failure, fallen.model) == ("a", "timeout", "b")

    async def test_why_their_answers_ended(self, database: Database, project: str) -> None:
        await write(
            database,
            project,
            {"request": b'{"max_tokens": 5}', "reply": b'{"choices": [{"finish_reason": "length"}]}'},
            {"request": b"{}", "reply": b"<html>"},
            {"reply": b'{"choices": [{"finish_reason": "length"}]}', "logging": "metadata"},
        )
        found = [(each.finish_reason, each.token_limit) for each in (await gathered(database, project)).called]
        assert found == [(None, None), (None, None), ("length", 5)]


class TestSurroundings:
    async def test_what_a_training_measured(
        self, database: Database, project: str, project_key: dict[str, Any]
    ) -> None:
        job = await add_job(database, project_key, training={"lora_rank": 8})
        model = await add_tuned(database, job)
        async with database.session() as session:
            for step in range(30):
                loss = 2.0 - step * 0.05
                session.add(
                    FineTuningEventRow(
                        id=f"ftevent-{step}", job_id=job.id, key=f"step-{step}", created_at=now(), level="info",
                        type="metrics", message="", values={"step": step, "train_loss": loss},
                    )
                )  # fmt: skip
            for step, loss in ((10, 1.0), (20, 1.2)):
                metrics = {"full_valid_loss": loss}
                session.add(
                    FineTuningCheckpointRow(
                        id=f"ftckpt-{step}", job_id=job.id, created_at=now(), step=step, metrics=metrics
                    )
                )
        await write(database, project, {"served_model": model.id}, {})
        found = (await gathered(database, project)).trainings
        assert list(found) == [model.id]
        training = found[model.id]
        assert (training.job_id, training.rank, training.epochs, training.learning_rate_multiplier) == (
            job.id, 8, 3.0, 1.5,
        )  # fmt: skip
        assert (training.first_loss, training.last_loss) == (pytest.approx(1.9), pytest.approx(0.65))
        assert training.valid_losses == [(10, 1.0), (20, 1.2)]

    async def test_not_of_another_projects_model(
        self, database: Database, project: str, project_key: dict[str, Any], admin: httpx.AsyncClient
    ) -> None:
        model = await add_tuned(database, await add_job(database, project_key))
        other = (await admin.post("/v1/organization/projects", json={"name": "other"})).json()["id"]
        async with database.session() as session:
            await session.execute(update(ModelRow).where(ModelRow.id == model.id).values(project_id=other))
        await write(database, project, {"served_model": model.id})
        assert (await gathered(database, project)).trainings == {}

    async def test_routes_with_their_rules_and_revisions(
        self, database: Database, project: str, admin: httpx.AsyncClient, sv: Services
    ) -> None:
        check = {"name": "format", "rules": [{"type": "json"}]}
        body = {"name": "shop", "targets": [{"model": "echo"}]}
        await admin.post("/v1/routes", json=body | {"checks": [check]})
        own = (await admin.post("/v1/routes", json=body | {"project_id": project})).json()
        await admin.post(f"/v1/routes/{own['id']}", json={"checks": [check], "fallbacks": [{"model": "echo"}]})
        await write(database, project, {"route": "shop@2"})
        [found] = (await gathered(database, project)).routes
        assert (found.id, found.rules, found.fallbacks, found.few_shot) == (own["id"], ["json"], 1, False)
        assert [number for number, _ in found.revisions] == [1, 2]
        async with database.session() as session:
            assert await session.get(RouteRevisionRow, (own["id"], 2)) is not None


async def add_runs(database: Database, project: str, *runs: tuple[str, str]) -> None:
    """Completed runs of one eval, oldest first: the model, and for each item p (passed), f (failed) or e (error)."""
    moment = now() - timedelta(hours=1)
    async with database.session() as session:
        session.add(
            EvalRow(
                id="eval_1", project_id=project, name="suite", data_source_config={}, metrics={}, testing_criteria=[],
                created_at=moment, updated_at=moment,
            )
        )  # fmt: skip
        await session.flush()
        for place, (model, outcomes) in enumerate(runs):
            run = f"evalrun_{place}"
            session.add(
                EvalRunRow(
                    id=run, eval_id="eval_1", project_id=project, api_key_id="k", name="r", model=model, data_source={},
                    status="completed", created_at=moment + timedelta(minutes=place), repeats=1,
                )
            )  # fmt: skip
            await session.flush()
            for number, outcome in enumerate(outcomes):
                status = {"p": "pass", "f": "fail", "e": "error"}[outcome]
                results = [{"name": "same", "passed": outcome == "p"}, {"name": "other", "passed": True}]
                session.add(
                    EvalOutputItemRow(
                        id=f"outputitem_{place}_{number}", run_id=run, number=number, item={"q": "x"}, cluster="#",
                        status=status, results=results, created_at=moment, repeat=0,
                    )
                )  # fmt: skip


class TestEvals:
    async def test_the_newest_run_of_each_model_and_what_flipped_in_the_last(
        self, database: Database, project: str
    ) -> None:
        await add_runs(database, project, ("a", "ppp"), ("b", "ppf"), ("b", "pffe"))
        found = (await gathered(database, project)).tested
        newest = {each.item_id: (each.failed, each.flipped) for each in found if each.run_id == "evalrun_2"}
        assert newest == {
            "outputitem_2_0": ([], False),
            "outputitem_2_1": (["same"], True),
            "outputitem_2_2": (["same"], False),
        }
        assert {each.run_id for each in found} == {"evalrun_0", "evalrun_2"}
        assert {each.flipped for each in found if each.run_id == "evalrun_0"} == {None}

    async def test_of_a_model(self, database: Database, project: str) -> None:
        await add_runs(database, project, ("a", "ppf"), ("b", "ppf"))
        assert {each.model for each in (await gathered(database, project, model="a")).tested} == {"a"}

    async def test_of_a_model_or_a_route_without_runs(self, database: Database, project: str) -> None:
        await add_runs(database, project, ("a", "ppf"))
        assert (await gathered(database, project, model="b")).tested == []
        assert (await gathered(database, project, route="support")).tested == []
