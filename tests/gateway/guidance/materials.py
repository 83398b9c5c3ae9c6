"""Material for tests: answers, verdicts, calls, as few or as many as wanted."""

from typing import Any

from gateway.guidance.advice import advised
from gateway.guidance.material import Called, Criterion, Judge, Judged, Material, Route, Tested, Training
from gateway.protocol.guidance import Cluster, Report

START = 1_790_000_000
THUMBS = "crit_thumbs"
CRITERIA = {
    THUMBS: Criterion("thumbs", "Thumbs up or down.", 1),
    "crit_helpful": Criterion("helpful", "Does it help?", 1),
    "crit_rules": Criterion("rules.format", "Rules.", 1),
}


def judged(n: int, **changes: Any) -> Judged:
    """The n-th answer, a minute after the one before; a thumb up, unless `changes` say otherwise."""
    plain: dict[str, Any] = {
        "exchange_id": f"req_{n:04}",
        "at": START + 60.0 * n,
        "model": "m",
        "route": None,
        "end_user": None,
        "metadata": None,
        "criterion_id": THUMBS,
        "source": "human",
        "judge_version_id": None,
        "passed": True,
        "tags": [],
    }
    return Judged(**plain | changes)


def called(n: int, **changes: Any) -> Called:
    plain: dict[str, Any] = {
        "exchange_id": f"req_{n:04}",
        "at": START + 60.0 * n,
        "model": "m",
        "route": None,
        "end_user": None,
        "metadata": None,
        "outcome": "completed",
        "status": 200,
        "code": None,
        "failed_model": None,
        "failure": None,
        "finish_reason": None,
        "token_limit": None,
    }
    return Called(**plain | changes)


def item(n: int, **changes: Any) -> Tested:
    plain: dict[str, Any] = {
        "eval_id": "eval_1",
        "eval_name": "suite",
        "run_id": "evalrun_1",
        "at": float(START),
        "model": "m",
        "item_id": f"outputitem_{n}",
        "failed": [],
        "flipped": None,
    }
    return Tested(**plain | changes)


def judge(**changes: Any) -> Judge:
    """One of a model's whose agreement with people was shown."""
    plain: dict[str, Any] = {
        "id": "judge_1",
        "name": "strict",
        "kind": "llm",
        "trusted": True,
        "kappa": 0.7,
        "kappa_low": 0.6,
        "n": 100,
        "wanted_kappa": 0.4,
        "rules": [],
    }
    return Judge(**plain | changes)


def training(**changes: Any) -> Training:
    """One that learnt what it should."""
    plain: dict[str, Any] = {
        "job_id": "ftjob-1",
        "created_at": float(START),
        "base_model": "base",
        "epochs": 3.0,
        "rank": 16,
        "learning_rate_multiplier": 1.0,
        "first_loss": 2.0,
        "last_loss": 0.5,
        "valid_losses": [(10, 1.2), (20, 1.0)],
    }
    return Training(**plain | changes)


def route(name: str = "shop", **changes: Any) -> Route:
    plain: dict[str, Any] = {
        "id": "route_1",
        "name": name,
        "rules": [],
        "few_shot": False,
        "fallbacks": 1,
        "revisions": [(1, float(START))],
    }
    return Route(**plain | changes)


def material(**parts: Any) -> Material:
    plain: dict[str, Any] = {
        "judged": [],
        "called": [],
        "tested": [],
        "questions": {},
        "criteria": CRITERIA,
        "judges": {},
        "trainings": {},
        "routes": [],
        "complete": True,
    }
    return Material(**plain | parts)


def report(**parts: Any) -> Report:
    return advised(material(**parts))


def only(**parts: Any) -> Cluster:
    """The one cluster that there is."""
    found = report(**parts).clusters
    assert len(found) == 1, [each.title for each in found]
    return found[0]


def kinds(cluster: Cluster) -> list[str]:
    return [each.kind for each in cluster.suggestions]
