"""No project sees anything of another: every route of the URL map is called with another project's key on objects that
exist. A route that this page does not know fails it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import pytest
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from gateway.app import App
from gateway.db.database import Database
from gateway.services import Services
from gateway.settings import EngineSettings, Settings
from tests.conftest import chat
from tests.fakes.datasets import add_dataset
from tests.fakes.engine import BASE
from tests.fakes.evals import add_run
from tests.fakes.tuned_models import add_job, add_tuned
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
SECRET = "zebra"
"""Is in whatever the first project named or wrote."""
EXAMPLE = b'{"messages": [{"role": "user", "content": "zebra"}, {"role": "assistant", "content": "zebra"}]}\n'

LINE = msgspec.json.decode(EXAMPLE)

HOT = {("POST", "/v1/chat/completions"), ("POST", "/v1/completions")}
FOR_NOBODY_IN_PARTICULAR = {
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/metrics"),
    ("POST", "/v1/sessions"),
    ("GET", "/v1/sign_in"),
    ("GET", "/v1/sign_in/oidc"),
    ("GET", "/v1/sign_in/oidc/callback"),
    ("POST", "/v1/invites/accept"),
}
"""These ask for no key: they are of no project. Whoever adds one says so here."""


@dataclass(frozen=True)
class Case:
    """A call of something that belongs to the first project."""

    method: str
    route: str
    """As in the URL map; `{...}` is filled with the object's id."""
    body: dict[str, Any] = field(default_factory=dict[str, Any])
    """`{...}` in a text is filled, too."""
    query: str = ""
    part: bytes | None = None
    """Sent as a form's `data`."""
    status: tuple[int, ...] = (404,)
    """What the stranger gets."""

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.route


RULES = {"type": "rule", "rules": [{"type": "json"}]}
GRADER = {"type": "score_model", "name": "g", "model": "{model_id}", "input": [{"role": "user", "content": "x"}]}
DATA = {"type": "jsonl", "source": {"type": "file_id", "id": "{file_id}"}}
SUITE = {"kind": "sft", "contamination": {"files": ["{file_id}"]}}
REFUSED = (400, 404)
"""A file that a body names and that does not exist is a wrong parameter: 400, as for any such name."""

CASES = (
    Case("GET", "/v1/files/{file_id}"),
    Case("GET", "/v1/files/{file_id}/content"),
    Case("GET", "/v1/files/{file_id}/report"),
    Case("GET", "/v1/files/{file_id}/rows"),
    Case("POST", "/v1/datasets/import", {"file_id": "{file_id}", "format": "auto"}, status=REFUSED),
    Case("POST", "/v1/uploads/{upload_id}/parts", part=EXAMPLE),
    Case("POST", "/v1/uploads/{upload_id}/complete", {"part_ids": ["{part_id}"]}),
    Case("POST", "/v1/uploads/{cancelled_id}/cancel"),
    Case("POST", "/v1/fine_tuning/estimate", {"model": BASE, "training_file": "{file_id}"}, status=REFUSED),
    Case("POST", "/v1/fine_tuning/jobs", {"model": BASE, "training_file": "{file_id}"}, status=REFUSED),
    Case("POST", "/v1/fine_tuning/jobs", {"model": "{model_id}", "training_file": "{file_id}"}),
    Case("GET", "/v1/fine_tuning/jobs/{job_id}"),
    Case("POST", "/v1/fine_tuning/jobs/{job_id}/cancel"),
    Case("POST", "/v1/fine_tuning/jobs/{job_id}/pause"),
    Case("POST", "/v1/fine_tuning/jobs/{job_id}/resume"),
    Case("GET", "/v1/fine_tuning/jobs/{job_id}/events"),
    Case("GET", "/v1/fine_tuning/jobs/{job_id}/metrics"),
    Case("GET", "/v1/fine_tuning/jobs/{job_id}/checkpoints"),
    Case("POST", "/v1/fine_tuning/alpha/graders/validate", {"grader": GRADER}, status=REFUSED),
    Case("POST", "/v1/fine_tuning/alpha/graders/run", {"grader": GRADER, "model_sample": "x"}, status=REFUSED),
    Case("GET", "/v1/models/{model_id}"),
    Case("GET", "/v1/models/{checkpoint_id}"),
    Case("GET", "/v1/models/{route_name}"),
    Case("GET", "/v1/models/{model_id}", query="/export"),
    Case("GET", "/v1/registry/{model_id}"),
    Case("POST", "/v1/registry/{model_id}", {"deprecated": True}),
    Case("POST", "/v1/chat/completions", chat("{model_id}")),
    Case("POST", "/v1/chat/completions", chat("{checkpoint_id}")),
    Case("POST", "/v1/chat/completions", chat("{route_name}")),
    Case("POST", "/v1/completions", {"model": "{model_id}", "prompt": "x"}),
    Case("GET", "/v1/exchanges/{exchange_id}"),
    Case("GET", "/v1/exchanges/{reply_id}"),
    Case("GET", "/v1/chat/completions/{reply_id}"),
    Case("GET", "/v1/chat/completions/{reply_id}/messages"),
    Case("POST", "/v1/chat/completions/{reply_id}", {"metadata": {"team": "other"}}),
    Case("DELETE", "/v1/chat/completions/{reply_id}"),
    Case("GET", "/v1/judges/{judge_id}"),
    Case("POST", "/v1/judges/{judge_id}", {"min_kappa": 0.5}),
    Case("GET", "/v1/judges/{judge_id}/versions"),
    Case("GET", "/v1/judges/{judge_id}/lag"),
    Case("GET", "/v1/judges/{judge_id}/trust"),
    Case("POST", "/v1/judges/{judge_id}/judge", {"exchange_ids": ["{exchange_id}"]}),
    Case("POST", "/v1/rules/try", {"rules": [{"type": "json"}], "exchange_id": "{exchange_id}"}),
    Case("POST", "/v1/judges/{judge_id}/calibrate"),
    Case("POST", "/v1/judges/{judge_id}/calibrate", {"criterion": "{criterion_id}"}),
    Case("POST", "/v1/judges", {"name": "x", "criterion": "{criterion_id}", "spec": RULES}),
    Case("DELETE", "/v1/judges/{judge_id}"),
    Case("POST", "/v1/evals/import", {"file_id": "{file_id}"}),
    Case("GET", "/v1/evals/{eval_id}"),
    Case("POST", "/v1/evals/{eval_id}", {"name": "x"}),
    Case("GET", "/v1/evals/{eval_id}/trend"),
    Case("GET", "/v1/evals/{eval_id}/sample_size", query="?effect=0.05"),
    Case("GET", "/v1/evals/{eval_id}/runs"),
    Case("POST", "/v1/evals/{eval_id}/runs", {"data_source": DATA}),
    Case("GET", "/v1/evals/{eval_id}/runs/{run_id}"),
    Case("POST", "/v1/evals/{eval_id}/runs/{run_id}"),
    Case("POST", "/v1/evals/{eval_id}/runs/{run_id}/cancel"),
    Case("GET", "/v1/evals/{eval_id}/runs/{run_id}/compare", query="?with="),
    Case("GET", "/v1/evals/{eval_id}/runs/{run_id}/compare/items", query="?with="),
    Case("GET", "/v1/evals/{eval_id}/runs/{run_id}/output_items"),
    Case("GET", "/v1/evals/{eval_id}/runs/{run_id}/output_items/{output_item_id}"),
    Case("DELETE", "/v1/evals/{eval_id}/runs/{run_id}"),
    Case("DELETE", "/v1/evals/{eval_id}"),
    Case("POST", "/v1/feedback", {"completion_id": "{reply_id}", "thumbs": "up"}),
    Case("POST", "/v1/judgments", {"judgments": [{"exchange_id": "{exchange_id}", "criterion": "clear", "value": 4}]}),
    Case("GET", "/v1/judgments/{judgment_id}"),
    Case("DELETE", "/v1/judgments/{judgment_id}"),
    Case("POST", "/v1/review_queues", {"name": "x", "source": {"answers": [{"exchange_id": "{exchange_id}"}]}}),
    Case("GET", "/v1/review_queues/{queue_id}"),
    Case("POST", "/v1/review_queues/{queue_id}", {"name": "zebra"}),
    Case("POST", "/v1/review_queues/{queue_id}/next"),
    Case("GET", "/v1/review_queues/{queue_id}/current"),
    Case("GET", "/v1/review_queues/{queue_id}/items"),
    Case("GET", "/v1/review_queues/{queue_id}/people"),
    Case("POST", "/v1/review_queues/{queue_id}/items", {"source": {"answers": [{"exchange_id": "{exchange_id}"}]}}),
    Case("GET", "/v1/review_queues/{queue_id}/items/{item_id}"),
    Case("POST", "/v1/review_queues/{queue_id}/items/{item_id}/skip"),
    Case("POST", "/v1/review_queues/{queue_id}/items/{item_id}/decision", {"values": {"zebra": True}}),
    Case("POST", "/v1/review_queues/{queue_id}/undo"),
    Case("POST", "/v1/review_queues/{queue_id}/release"),
    Case("DELETE", "/v1/review_queues/{queue_id}"),
    Case("DELETE", "/v1/exchanges/{exchange_id}"),
    Case("GET", "/v1/saved_views/{view_id}"),
    Case("POST", "/v1/saved_views/{view_id}", {"name": "other"}),
    Case("DELETE", "/v1/saved_views/{view_id}"),
    Case("GET", "/v1/criteria/{criterion_id}"),
    Case("POST", "/v1/criteria/{criterion_id}", {"description": "other"}),
    Case("DELETE", "/v1/criteria/{criterion_id}"),
    Case("GET", "/v1/training_examples/{example_id}"),
    Case("POST", "/v1/training_examples/{example_id}", {"tags": ["other"]}),
    Case("POST", "/v1/training_examples/{example_id}/validate", {"score": 0.1}),
    Case("POST", "/v1/training_examples/import", {"file_id": "{file_id}"}),
    Case("DELETE", "/v1/training_examples/{example_id}"),
    Case("GET", "/v1/lineage/{exchange_id}"),
    Case("GET", "/v1/lineage/{reply_id}"),
    Case("GET", "/v1/lineage/{judgment_id}"),
    Case("GET", "/v1/lineage/{example_id}"),
    Case("GET", "/v1/lineage/{dataset_id}"),
    Case("GET", "/v1/lineage/{file_id}"),
    Case("GET", "/v1/lineage/{job_id}"),
    Case("GET", "/v1/lineage/{model_id}"),
    Case("GET", "/v1/lineage/{checkpoint_id}"),
    Case("GET", "/v1/lineage/{run_id}"),
    Case("GET", "/v1/datasets/{dataset_id}"),
    Case("POST", "/v1/datasets/{dataset_id}", {"description": "other"}),
    Case("GET", "/v1/datasets/{dataset_id}/versions"),
    Case("GET", "/v1/datasets/{dataset_id}/versions/1"),
    Case("GET", "/v1/datasets/{dataset_id}/versions/1/report"),
    Case("GET", "/v1/datasets/{dataset_id}/versions/1/items"),
    Case("POST", "/v1/datasets/{dataset_id}/versions/1/export", query="?format=trl"),
    Case("POST", "/v1/datasets/{dataset_id}/versions/1/cancel"),
    Case("POST", "/v1/datasets/{dataset_id}/versions"),
    Case("DELETE", "/v1/datasets/{dataset_id}"),
    Case("POST", "/v1/datasets", {"name": "x", "recipe": SUITE}, status=REFUSED),
    Case("DELETE", "/v1/models/{checkpoint_id}"),
    Case("DELETE", "/v1/files/{file_id}"),
)
"""In this order the first project can make each call itself."""

OWN = (
    Case("GET", "/v1/files"),
    Case("GET", "/v1/fine_tuning/jobs"),
    Case("GET", "/v1/models"),
    Case("GET", "/v1/registry"),
    Case("GET", "/v1/model_traffic", query="?group_by=route"),
    Case("GET", "/v1/exchanges"),
    Case("GET", "/v1/saved_views"),
    Case("GET", "/v1/budgets/current"),
    Case("GET", "/v1/chat/completions"),
    Case("GET", "/v1/judgments"),
    Case("GET", "/v1/judgments/summary"),
    Case("GET", "/v1/criteria"),
    Case("GET", "/v1/judges"),
    Case("GET", "/v1/judge_standings"),
    Case("GET", "/v1/review_queues"),
    Case("GET", "/v1/evals"),
    Case("GET", "/v1/eval_standings"),
    Case("GET", "/v1/datasets"),
    Case("GET", "/v1/training_examples"),
    Case("GET", "/v1/lineage", query="?user=zebra"),
)
"""Lists of one's own."""

MAKING = {
    ("POST", "/v1/evals"),
    ("POST", "/v1/files"),
    ("POST", "/v1/uploads"),
    ("POST", "/v1/criteria"),
    ("POST", "/v1/saved_views"),
    ("DELETE", "/v1/exchanges"),
    ("POST", "/v1/datasets/preview"),
    ("POST", "/v1/training_examples"),
    ("GET", "/v1/guidance"),
    ("POST", "/v1/guidance/summary"),
}
"""They name nothing that exists."""


def handlers(app: App) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    for route in app.litestar.routes:
        assert isinstance(route, HTTPRoute), route
        for handler in route.route_handlers:
            assert isinstance(handler, HTTPRouteHandler)
            for method in handler.http_methods - {"OPTIONS", "HEAD"}:
                yield str(method), route.path_format, handler


def routes_with(app: App, dependency: str) -> set[tuple[str, str]]:
    return {
        (method, path)
        for method, path, handler in handlers(app)
        if dependency in handler.parsed_fn_signature.parameters
    }


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With an engine that is away: whether a model may be called shows before it is."""
    engine = EngineSettings(url="http://127.0.0.1:9/v1", model=BASE, model_path="/nowhere")
    return msgspec.structs.replace(settings, engine=engine)


async def uploading(client: Client) -> str:
    body = {"filename": "zebra.jsonl", "purpose": "fine-tune", "bytes": len(EXAMPLE), "mime_type": "application/jsonl"}
    return (await client.post("/v1/uploads", json=body)).json()["id"]


@pytest.fixture
async def objects(
    client: Client, admin: Client, database: Database, sv: Services, project_key: dict[str, Any]
) -> dict[str, str]:
    """The first project's, by what their id is called in URLs."""
    project = project_key["project_id"]
    named = {"file": ("zebra.jsonl", EXAMPLE * 10), "purpose": (None, "fine-tune")}
    file_id = (await client.post("/v1/files", files=named)).json()["id"]
    upload_id = await uploading(client)
    part = await client.post(f"/v1/uploads/{upload_id}/parts", files={"data": ("x", EXAMPLE)})
    job = await add_job(database, project_key, suffix=SECRET, training_file=file_id)
    tuned = await add_tuned(database, job)
    checkpoint = await add_tuned(database, job, step=2)
    route = {"name": "zebra-way", "project_id": project, "targets": [{"model": "echo"}]}
    route_id = (await admin.post("/v1/routes", json=route)).json()["id"]
    budget = {"api_key_id": project_key["id"], "project_id": project, "period": "day", "limit_usd": 9, "name": SECRET}
    budget_id = (await admin.post("/v1/budgets", json=budget)).json()["id"]
    reply = await client.post(
        "/v1/chat/completions", json=chat("echo", metadata={"team": SECRET}, store=True, user=SECRET)
    )
    await client.post("/v1/chat/completions", json=chat("zebra-way"))
    await sv.drain.drain()
    await sv.mirrors.refresh()
    criterion = (await client.post("/v1/criteria", json={"name": SECRET, "kind": "boolean"})).json()
    judge = (await client.post("/v1/judges", json={"name": SECRET, "spec": RULES})).json()
    said = {"completion_id": reply.json()["id"], "criterion": SECRET, "value": True, "tags": [SECRET]}
    judged = (await client.post("/v1/feedback", json=said)).json()
    view = await client.post("/v1/saved_views", json={"page": "exchanges", "name": SECRET, "query": {"q": SECRET}})
    named_answer = {"answers": [{"exchange_id": reply.headers["x-request-id"]}]}
    queue = {"name": SECRET, "criteria": [SECRET], "source": named_answer}
    queue_id = (await client.post("/v1/review_queues", json=queue)).json()["id"]
    item = (await client.post(f"/v1/review_queues/{queue_id}/next")).json()["item"]
    return {
        "queue_id": queue_id,
        "item_id": item["id"],
        "file_id": file_id,
        "upload_id": upload_id,
        "cancelled_id": await uploading(client),
        "part_id": part.json()["id"],
        "job_id": job.id,
        "model_id": tuned.id,
        "checkpoint_id": checkpoint.id,
        "route_id": route_id,
        "route_name": "zebra-way",
        "exchange_id": reply.headers["x-request-id"],
        "reply_id": reply.json()["id"],
        "budget_id": budget_id,
        "criterion_id": criterion["id"],
        "judge_id": judge["id"],
        "example_id": (await client.post("/v1/training_examples", json={"line": LINE, "tags": [SECRET]})).json()["id"],
        **await add_run(database, project, SECRET),
        **await add_dataset(database, project, SECRET, file_id=file_id, exchange_id=reply.headers["x-request-id"]),
        "view_id": view.json()["id"],
        "judgment_id": judged["judgments"][0]["id"],
        "project_id": project,
        "key_id": project_key["id"],
        "account_id": project_key["account"],
    }


def filled(value: Any, objects: dict[str, str]) -> Any:
    """With the objects' ids in the place of their names."""
    text = msgspec.json.encode(value).decode()
    for name, id in objects.items():
        text = text.replace(f"{{{name}}}", id)
    return msgspec.json.decode(text)


async def called(client: Client, case: Case, objects: dict[str, str]) -> httpx.Response:
    url = filled(case.route, objects) + case.query
    assert "{" not in url, f"there is no such object: {url}"
    if case.part is not None:
        return await client.post(url, files={"data": ("x", case.part)})
    body = msgspec.json.encode(filled(case.body, objects)) if case.body else b""
    return await client.request(case.method, url, content=body)


def traces(answer: httpx.Response, sent: str, objects: dict[str, str]) -> list[str]:
    """What an answer tells of the first project beyond what was sent."""
    text = f"{answer.text} {answer.headers}"
    for id in objects.values():
        if id in sent:
            text = text.replace(id, "")
    return [word for word in (SECRET, *objects.values()) if word in text]


class TestEveryRoute:
    async def test_is_known(self, app: App) -> None:
        """A new one belongs into CASES, OWN or MAKING, or asks for an administrator."""
        known = {case.key for case in (*CASES, *OWN)} | MAKING
        every = {(method, path) for method, path, _ in handlers(app)} | HOT
        for_admins, for_projects = routes_with(app, "admin"), routes_with(app, "caller")
        renamed = {"/v1/uploads/{cancelled_id}/cancel": "/v1/uploads/{upload_id}/cancel"}
        same_route = {
            "/v1/models/{checkpoint_id}": "/v1/models/{model_id}",
            "/v1/models/{route_name}": "/v1/models/{model_id}",
            "/v1/exchanges/{reply_id}": "/v1/exchanges/{exchange_id}",
            "/v1/chat/completions/{reply_id}": "/v1/chat/completions/{completion_id}",
            "/v1/chat/completions/{reply_id}/messages": "/v1/chat/completions/{completion_id}/messages",
        }
        known = {(method, (renamed | same_route).get(path, path)) for method, path in known}
        known = {(method, path.replace("/versions/1", "/versions/{number}")) for method, path in known}
        known = {(method, re.sub("^/v1/lineage/.*", "/v1/lineage/{node_id}", path)) for method, path in known}
        assert known == for_projects | HOT
        assert every - for_admins - for_projects - HOT == FOR_NOBODY_IN_PARTICULAR


class TestStranger:
    async def test_gets_nothing_and_changes_nothing(
        self, client: Client, stranger: Client, objects: dict[str, str]
    ) -> None:
        """What the first project can do afterwards shows that the stranger was refused something that exists."""
        for case in CASES:
            answer = await called(stranger, case, objects)
            assert answer.status_code in case.status, (case, answer.text)
            assert answer.json()["error"]["code"] != "unknown_url", case
            sent = f"{filled(case.route, objects)} {filled(case.body, objects)}"
            assert traces(answer, sent, objects) == [], (case, answer.text)
        for case in CASES:
            answer = await called(client, case, objects)
            assert answer.status_code not in (401, 403, 404), (case, answer.text)
            if case.method == "GET" and not case.query:
                assert answer.status_code == 200, (case, answer.text)

    async def test_lists_only_what_is_its_own(self, client: Client, stranger: Client, objects: dict[str, str]) -> None:
        for case in OWN:
            mine, theirs = await called(client, case, objects), await called(stranger, case, objects)
            assert (mine.status_code, theirs.status_code) == (200, 200), case
            assert traces(mine, "", objects) != [], case
            assert traces(theirs, "", objects) == [], case

    async def test_erases_only_what_is_its_own(self, client: Client, stranger: Client, objects: dict[str, str]) -> None:
        """The same name of an end user is another person in another project."""
        url = f"/v1/exchanges?user={SECRET}"
        assert (await stranger.delete(url)).json()["exchanges"] == 0
        assert (await client.get(f"/v1/exchanges/{objects['exchange_id']}")).json()["request"] is not None
        assert (await client.delete(url)).json()["exchanges"] == 1

    async def test_administers_nothing(self, app: App, stranger: Client, objects: dict[str, str]) -> None:
        walked = sorted(routes_with(app, "admin"))
        assert len(walked) > 80
        for method, path in walked:
            url = filled(path, objects).replace("{", "").replace("}", "")
            error = error_in(await stranger.request(method, url, content=b"{}"), 403)
            assert error["code"] == "insufficient_permissions", (method, path)
            assert SECRET not in str(error)


async def test_a_key_of_the_same_project_sees_what_the_first_does(
    admin: Client, app: App, client: Client, objects: dict[str, str]
) -> None:
    """Tenants are projects: that is whom the walls stand between."""
    url = f"/v1/organization/projects/{objects['project_id']}/api_keys"
    second = (await admin.post(url, json={"name": "second"})).json()
    headers = {"authorization": f"Bearer {second['value']}"}
    for path in (f"/v1/files/{objects['file_id']}", f"/v1/exchanges/{objects['exchange_id']}"):
        assert (await client.get(path, headers=headers)).status_code == 200
