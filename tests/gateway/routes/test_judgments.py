"""/v1/judgments"""

from typing import Any

import httpx
import pytest

from gateway.db.database import Database
from gateway.db.tables import JudgeRow, JudgeVersionRow
from gateway.judgments import criteria, repository
from gateway.judgments.summary import wilson
from gateway.kit.clock import now
from judges.statistics import intervals
from tests.gateway.judgments.verdicts import verdict
from tests.gateway.metering.ledger_rows import MIDNIGHT
from tests.gateway.routes.test_exchanges import add
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

JUDGMENTS = "/v1/judgments"
SUMMARY = "/v1/judgments/summary"


@pytest.fixture
async def logged(database: Database, project_key: dict[str, Any]) -> list[str]:
    """Four exchanges of two models and two teams, on two days."""
    own = {"project_id": project_key["project_id"], "route": "support@3", "served_model": "m"}
    return await add(
        database,
        own | {"request_metadata": {"team": "a"}, "reply_id": "chatcmpl-0"},
        own | {"request_metadata": {"team": "b"}, "created_at": MIDNIGHT - 10.0},
        own | {"served_model": "n", "request_metadata": {"team": "a"}},
        own | {"served_model": "n", "request_metadata": None, "route": None},
    )


async def bring(client: httpx.AsyncClient, *judgments: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await client.post(JUDGMENTS, json={"judgments": judgments})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def listed(client: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await client.get(JUDGMENTS, params=query)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["data"]]


async def summed(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(SUMMARY, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def judged(database: Database, project_id: str, name: str, *changes: dict[str, Any]) -> list[str]:
    """Verdicts by a criterion, as a worker writes them."""
    async with database.session() as session:
        row = await criteria.by_name(session, project_id, name)
        return await repository.add(session, [verdict(row, **each) for each in changes])


@pytest.fixture
async def judge_version(database: Database, project_key: dict[str, Any]) -> str:
    project_id = project_key["project_id"]
    async with database.session() as session:
        row = await criteria.by_name(session, project_id, "helpful")
        judge = JudgeRow(
            id="judge_1", project_id=project_id, name="j", kind="llm", version=1, created_at=now(), updated_at=now()
        )
        version = JudgeVersionRow(
            id="judgever_1", judge_id="judge_1", number=1, criterion_id=row.id, spec={}, spec_sha256="", created_at=now(),
            created_by="",
        )  # fmt: skip
        session.add(judge)
        await session.flush()
        session.add(version)
    return "judgever_1"


class TestBrought:
    async def test_is_external_unless_people_said_it(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        first, second = await bring(
            client,
            {"exchange_id": logged[0], "criterion": "helpful", "value": 2, "rationale": "Vague.", "confidence": 0.5},
            {"exchange_id": "chatcmpl-0", "criterion": "thumbs", "value": True, "source": "human", "tags": ["x"]},
        )
        assert (first["source"], first["score"], first["passed"]) == ("external", 0.25, False)
        assert (first["rationale"], first["confidence"], first["value"]) == ("Vague.", 0.5, 2)
        assert (second["source"], second["exchange_id"], second["tags"]) == ("human", logged[0], ["x"])

    async def test_of_every_kind(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        tone = {"name": "tone", "kind": "categorical", "labels": ["kind", "rude"]}
        await client.post("/v1/criteria", json=tone)
        pair = {"exchange_id": logged[0], "criterion": "preference", "value": "b", "other_id": logged[1], "strength": 1}
        made = await bring(
            client,
            pair,
            {"exchange_id": logged[0], "criterion": "tone", "value": "rude"},
            {"exchange_id": logged[0], "criterion": "comment", "value": "Hm."},
            {"exchange_id": logged[0], "criterion": "correction", "value": {"content": "Yes."}},
            {"exchange_id": logged[1], "criterion": "helpful", "status": "error", "error_code": "timeout"},
            {"exchange_id": logged[2], "criterion": "helpful", "status": "abstained"},
        )
        assert [each["score"] for each in made] == [0.0, 0.0, None, None, None, None]
        assert (made[0]["preference"], made[0]["other_exchange_id"], made[0]["strength"]) == ("b", logged[1], 1)
        assert made[3]["edited_message"] == {"role": "assistant", "content": "Yes."}
        assert [each["status"] for each in made[4:]] == ["error", "abstained"]
        assert made[4]["error_code"] == "timeout"

    async def test_sent_again_changes_nothing(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        batch = [{"exchange_id": id, "criterion": "clear", "value": 4, "identifier": "run-7"} for id in logged]
        assert await bring(client, *batch) == await bring(client, *batch)
        assert len(await listed(client, history="true")) == 4

    async def test_a_thousand_at_once(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        one = {"exchange_id": logged[0], "criterion": "clear", "value": 4}
        made = await bring(client, *(one | {"identifier": str(number)} for number in range(1000)))
        assert len({each["id"] for each in made}) == 1000
        error = error_in(await client.post(JUDGMENTS, json={"judgments": [one] * 1001}), 400)
        assert error["param"] == "judgments"

    @pytest.mark.parametrize(
        ("param", "changes"),
        [
            ("source", {"source": "llm"}),
            ("source", {"source": "rule"}),
            ("source", {"source": "machine"}),
            ("value", {"value": None}),
            ("value", {"value": 7}),
            ("value", {"status": "error", "error_code": "x"}),
            ("error_code", {"error_code": "x"}),
            ("error_code", {"status": "error", "value": None}),
            ("error_code", {"status": "error", "value": None, "error_code": "x" * 65}),
            ("criterion", {"criterion": "unheard_of"}),
            ("confidence", {"confidence": 2}),
            ("rationale", {"rationale": "x" * 100_001}),
            ("tags", {"tags": [""]}),
            ("other_id", {"other_id": "chatcmpl-0", "choice_index": 1}),
            ("strength", {"strength": 1}),
            ("other_id", {"criterion": "preference", "value": "a"}),
            ("choice_index", {"choice_index": 128}),
        ],
    )
    async def test_one_that_makes_no_sense_is_named_and_none_is_written(
        self, client: httpx.AsyncClient, logged: list[str], param: str, changes: dict[str, Any]
    ) -> None:
        good = {"exchange_id": logged[0], "criterion": "helpful", "value": 2}
        answer = await client.post(JUDGMENTS, json={"judgments": [good, good | changes]})
        assert error_in(answer, 400)["param"] == f"judgments[1].{param}"
        assert await listed(client) == []

    async def test_of_an_exchange_that_is_not_there_is_404(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        missing = {"exchange_id": "req_" + "0" * 32, "criterion": "helpful", "value": 2}
        error = error_in(await client.post(JUDGMENTS, json={"judgments": [missing]}), 404)
        assert error["param"] == "judgments[0].exchange_id"


class TestList:
    async def test_filters(
        self, client: httpx.AsyncClient, database: Database, project_key: Any, logged: list[str], judge_version: str
    ) -> None:
        tone = {"name": "tone", "kind": "categorical", "labels": ["kind", "rude"]}
        await client.post("/v1/criteria", json=tone)
        made = await bring(
            client,
            {"exchange_id": logged[0], "criterion": "helpful", "value": 5, "tags": ["x", "y"], "user": "ann"},
            {"exchange_id": logged[1], "criterion": "tone", "value": "rude", "source": "human"},
            {"exchange_id": logged[2], "criterion": "preference", "value": "a", "other_id": logged[0]},
            {"exchange_id": logged[3], "criterion": "helpful", "status": "error", "error_code": "timeout"},
        )
        ids = [each["id"] for each in made]
        of_judge = {"source": "llm", "judge_version_id": judge_version, "annotator_id": None, "exchange_id": logged[1]}
        [by_judge] = await judged(database, project_key["project_id"], "helpful", of_judge | {"eval_run_id": "run_1"})
        ids.append(by_judge)
        helpful = made[0]["criterion_id"]
        for query, numbers in (
            ({"exchange": logged[0]}, [2, 0]),
            ({"exchange": "chatcmpl-0"}, [2, 0]),
            ({"exchange": "req_x"}, []),
            ({"criterion": "helpful"}, [4, 3, 0]),
            ({"criterion": helpful}, [4, 3, 0]),
            ({"criterion": "nothing"}, []),
            ({"source": "human"}, [1]),
            ({"judge": "judge_1"}, [4]),
            ({"judge": judge_version}, [4]),
            ({"annotator": project_key["id"]}, [3, 2, 1, 0]),
            ({"user": "ann"}, [0]),
            ({"user": "bob"}, []),
            ({"status": "error"}, [3]),
            ({"status": "ok", "criterion": "helpful"}, [4, 0]),
            ({"label": "rude"}, [1]),
            ({"passed": "true"}, [4, 0]),
            ({"passed": "false"}, []),
            ({"tag": "y"}, [0]),
            ({"eval_run": "run_1"}, [4]),
            ({"created_after": 4_000_000_000}, []),
            ({"created_before": 4_000_000_000}, [4, 3, 2, 1, 0]),
        ):
            assert await listed(client, **query) == [ids[number] for number in numbers], query

    async def test_is_paged(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        made = await bring(client, *({"exchange_id": id, "criterion": "clear", "value": 1} for id in logged))
        ids = [each["id"] for each in made]
        assert await listed(client, limit=3) == ids[:0:-1]
        assert await listed(client, after=ids[1]) == [ids[0]]
        assert await listed(client, order="asc", limit=2) == ids[:2]
        assert (await client.get(JUDGMENTS, params={"limit": 3})).json()["has_more"] is True

    async def test_refuses_filters_that_mean_nothing(self, client: httpx.AsyncClient) -> None:
        for query, param in (
            ({"source": "x"}, "source"), ({"status": "x"}, "status"), ({"passed": "x"}, "passed"),
            ({"created_after": "x"}, "created_after"), ({"history": "x"}, "history"),
        ):  # fmt: skip
            assert error_in(await client.get(JUDGMENTS, params=query), 400)["param"] == param


class TestRetract:
    async def test_leaves_both_rows_and_neither_counts(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        [made] = await bring(client, {"exchange_id": logged[0], "criterion": "clear", "value": 1, "tags": ["x"]})
        url = f"{JUDGMENTS}/{made['id']}"
        assert (await client.delete(url)).json() == {"id": made["id"], "object": "judgment.deleted", "deleted": True}
        assert await listed(client) == []
        assert await summed(client) == []
        [taken_back] = await listed(client, status="retracted")
        shown = (await client.get(f"{JUDGMENTS}/{taken_back}")).json()
        assert (shown["supersedes_id"], shown["score"], shown["tags"]) == (made["id"], None, [])
        old = (await client.get(url)).json()
        assert (old["score"], old["superseded_at"] is not None) == (0.0, True)
        assert len(await listed(client, history="true")) == 2

    async def test_twice_is_once_and_of_the_superseded_is_refused(
        self, client: httpx.AsyncClient, logged: list[str]
    ) -> None:
        [old] = await bring(client, {"exchange_id": logged[0], "criterion": "clear", "value": 1})
        await bring(client, {"exchange_id": logged[0], "criterion": "clear", "value": 2})
        error_in(await client.delete(f"{JUDGMENTS}/{old['id']}"), 409)
        [new] = await listed(client)
        await client.delete(f"{JUDGMENTS}/{new}")
        [taken_back] = await listed(client, status="retracted")
        assert (await client.delete(f"{JUDGMENTS}/{taken_back}")).status_code == 200
        assert await listed(client, status="retracted") == [taken_back]

    async def test_what_is_not_there_is_404(self, client: httpx.AsyncClient) -> None:
        for method in ("GET", "DELETE"):
            assert error_in(await client.request(method, f"{JUDGMENTS}/judgment_x"), 404)["param"] == "judgment_id"


class TestSummary:
    async def test_a_mean_stands_beside_what_it_covers(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        """Errors are no scores (research: pitfall 5)."""
        values = [{"value": 5}, {"value": 4}, {"status": "error", "error_code": "parse"}, {"status": "abstained"}]
        judgments = [{"exchange_id": id, "criterion": "clear"} | each for id, each in zip(logged, values, strict=True)]
        await bring(client, *judgments)
        [row] = await summed(client)
        counts = [row[name] for name in ("judgments", "ok", "errors", "abstained", "scored", "passed", "failed")]
        assert counts == [4, 2, 1, 1, 2, 2, 0]
        assert (row["coverage"], row["mean_score"], row["pass_rate"]) == (0.5, 0.875, 1.0)
        expected = intervals.wilson(2, 2)
        assert (row["pass_interval"]["low"], row["pass_interval"]["high"]) == pytest.approx(
            (expected.low, expected.high)
        )
        assert row["mean_interval"]["low"] < 0.875 < row["mean_interval"]["high"]

    async def test_without_a_score_there_is_no_mean(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        await bring(client, {"exchange_id": logged[0], "criterion": "clear", "status": "error", "error_code": "parse"})
        [row] = await summed(client)
        assert (row["coverage"], row["mean_score"], row["mean_interval"]) == (0.0, None, None)
        assert (row["pass_rate"], row["pass_interval"]) == (None, None)

    async def test_repeats_of_one_answer_narrow_nothing(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        """Research: pitfall 18."""
        once = [
            {"exchange_id": id, "criterion": "clear", "value": value}
            for id, value in zip(logged, (5, 1, 5, 1), strict=True)
        ]
        await bring(client, *once)
        [before] = await summed(client)
        await bring(client, *(each | {"identifier": str(number)} for each in once for number in range(9)))
        [after] = await summed(client)
        assert (after["judgments"], after["mean_score"]) == (40, before["mean_score"])
        assert after["mean_interval"] == before["mean_interval"]
        assert after["pass_interval"] == before["pass_interval"]

    async def test_versions_and_sources_are_never_pooled(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        """Research: pitfall 9."""
        await bring(client, {"exchange_id": logged[0], "criterion": "clear", "value": 1})
        await client.post("/v1/criteria", json={"name": "clear", "kind": "numeric", "lowest": 0, "highest": 1})
        await bring(
            client,
            {"exchange_id": logged[0], "criterion": "clear", "value": 1},
            {"exchange_id": logged[1], "criterion": "clear", "value": 1, "source": "human"},
        )
        rows = await summed(client, criterion="clear")
        assert sorted((row["source"], row["mean_score"]) for row in rows) == [
            ("external", 0.0), ("external", 1.0), ("human", 1.0),
        ]  # fmt: skip
        assert len({row["criterion_id"] for row in rows}) == 2

    async def test_where_failures_concentrate(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        tags = (["citation"], ["citation", "too_long"], [], ["too_long"])
        await bring(
            client,
            *(
                {"exchange_id": id, "criterion": "accurate", "value": 5 if id == logged[2] else 1, "tags": each}
                for id, each in zip(logged, tags, strict=True)
            ),
        )
        [every] = await summed(client)
        assert every["tags"] == {"citation": 2, "too_long": 2}
        for group_by, expected in (
            ("model", {"m": (2, {"citation": 2, "too_long": 1}), "n": (2, {"too_long": 1})}),
            ("route", {"support": (3, {"citation": 2, "too_long": 1}), None: (1, {"too_long": 1})}),
            ("day", {"2026-11-21": (3, {"citation": 1, "too_long": 1}), "2026-11-20": (1, {"citation": 1, "too_long": 1})}),
            ("metadata.team", {"a": (2, {"citation": 1}), "b": (1, {"citation": 1, "too_long": 1}), None: (1, {"too_long": 1})}),
            ("tag", {
                "citation": (2, {"citation": 2, "too_long": 1}), "too_long": (2, {"citation": 1, "too_long": 2}),
                None: (1, {}),
            }),
        ):  # fmt: skip
            rows = await summed(client, group_by=group_by)
            assert {row["group"][group_by]: (row["judgments"], row["tags"]) for row in rows} == expected, group_by
        rows = await summed(client, group_by="model,metadata.team", tag="citation")
        assert [row["group"] for row in rows] == [
            {"model": "m", "metadata.team": "a"},
            {"model": "m", "metadata.team": "b"},
        ]

    async def test_counts_labels_and_preferences(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        await client.post("/v1/criteria", json={"name": "tone", "kind": "categorical", "labels": ["kind", "rude"]})
        pairs = [
            {"exchange_id": logged[0], "criterion": "preference", "value": value, "other_id": id}
            for id, value in zip(logged[1:], ("a", "a", "tie"), strict=True)
        ]
        tones = [{"exchange_id": id, "criterion": "tone", "value": "rude"} for id in logged]
        await bring(client, *pairs, *tones)
        rows = {row["criterion"]: row for row in await summed(client)}
        assert rows["preference"]["preferences"] == {"a": 2, "tie": 1}
        assert rows["preference"]["mean_score"] == pytest.approx(2.5 / 3)
        assert rows["tone"]["labels"] == {"rude": 4}

    async def test_of_comparisons_what_reconciles_both_orders_counts(
        self, client: httpx.AsyncClient, database: Database, project_key: Any, logged: list[str]
    ) -> None:
        pair = {"exchange_id": logged[0], "other_exchange_id": logged[1], "passed": None, "source": "llm"}
        await judged(
            database, project_key["project_id"], "preference",
            pair | {"order_shown": "ab", "preference": "a"},
            pair | {"order_shown": "ba", "preference": "b"},
            pair | {"preference": "tie", "score": 0.5},
        )  # fmt: skip
        [row] = await summed(client)
        assert (row["judgments"], row["preferences"], row["mean_score"]) == (1, {"tie": 1}, 0.5)

    async def test_of_panels_what_all_members_come_to_counts(
        self, client: httpx.AsyncClient, database: Database, project_key: Any, judge_version: str, logged: list[str]
    ) -> None:
        own = {"exchange_id": logged[0], "source": "llm", "judge_version_id": judge_version, "annotator_id": None}
        members = [own | {"identifier": name, "score": score} for name, score in (("big", 0.2), ("small", 0.4))]
        await judged(database, project_key["project_id"], "helpful", *members, own | {"score": 0.3})
        [row] = await summed(client)
        assert (row["judgments"], row["mean_score"]) == (1, 0.3)

    async def test_runs_of_evals_are_apart(
        self, client: httpx.AsyncClient, database: Database, project_key: Any, logged: list[str]
    ) -> None:
        await judged(database, project_key["project_id"], "thumbs", {"exchange_id": logged[0], "eval_run_id": "run_1"})
        assert await summed(client) == []
        [row] = await summed(client, eval_run="run_1")
        assert row["judgments"] == 1

    async def test_by_judge(
        self, client: httpx.AsyncClient, database: Database, project_key: Any, logged: list[str], judge_version: str
    ) -> None:
        by_judge = {"exchange_id": logged[0], "source": "llm", "judge_version_id": judge_version, "annotator_id": None}
        await judged(database, project_key["project_id"], "helpful", by_judge)
        [row] = await summed(client, group_by="judge,judge_version")
        assert row["group"] == {"judge": "judge_1", "judge_version": judge_version}

    async def test_refuses_what_cannot_be_grouped_by(self, client: httpx.AsyncClient) -> None:
        for group_by in ("colour", "metadata.", "model,model", "model,route,day,tag,label"):
            error = error_in(await client.get(SUMMARY, params={"group_by": group_by}), 400)
            assert error["param"] == "group_by"
        assert error_in(await client.get(SUMMARY, params={"history": "true"}), 400)["param"] == "history"
        assert error_in(await client.get(SUMMARY, params={"latest": "-1"}), 400)["param"] == "latest"

    async def test_without_counts(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        await bring(client, {"exchange_id": logged[0], "criterion": "helpful", "value": 2, "tags": ["slow"]})
        [whole] = await summed(client)
        [bare] = await summed(client, counts="false")
        assert whole["tags"] == {"slow": 1}
        assert bare == {**whole, "tags": {}}

    async def test_of_the_newest_judgments_alone(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        await client.post("/v1/criteria", json={"name": "useful", "kind": "boolean"})
        for exchange, value in zip(logged, (True, True, False, False), strict=True):
            await bring(client, {"exchange_id": exchange, "criterion": "useful", "value": value})
        own = {"criterion": "useful", "value": True}
        await bring(client, {"exchange_id": logged[0], **own, "identifier": "another"})
        [whole] = await summed(client)
        [newest] = await summed(client, latest=3)
        assert (whole["passed"], whole["failed"]) == (3, 2)
        assert (newest["passed"], newest["failed"]) == (1, 2)
        assert await summed(client, latest=1, source="human") == []


@pytest.mark.parametrize(("successes", "n"), [(8, 10), (0, 20), (60, 100), (1, 1), (20, 20)])
def test_wilson_is_that_of_the_statistics(successes: int, n: int) -> None:
    expected = intervals.wilson(successes, n)
    found = wilson(successes / n, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
