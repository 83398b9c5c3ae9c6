"""What holds for every URL."""

import asyncio
import re
from collections.abc import Iterator

import httpx
import pytest
from litestar.handlers import HTTPRouteHandler

from gateway.app import App
from gateway.routes.model_calls import HOT
from gateway.routes.urls import ROUTES
from tests.conftest import client_of
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

OPEN = {("GET", path) for path in ("/health", "/ready", "/metrics")}
"""For load balancers and Prometheus: no key, and nothing of any client's."""
SIGN_IN = {
    ("GET", "/v1/sign_in"),
    ("GET", "/v1/sign_in/oidc"),
    ("GET", "/v1/sign_in/oidc/callback"),
    ("POST", "/v1/sessions"),
    ("POST", "/v1/invites/accept"),
}
"""For people who have no session yet: tests/gateway/routes/test_sessions.py, test_single_sign_on.py, test_invites.py."""


def every() -> Iterator[tuple[str, str]]:
    """Method and URL of every route, parameters filled in."""
    for handler in ROUTES:
        assert isinstance(handler, HTTPRouteHandler)
        for path in handler.paths:
            filled = re.sub(r"\{[^}]+\}", "x", path)
            yield from ((method, filled) for method in handler.http_methods if method not in ("HEAD", "OPTIONS"))
    yield from (("POST", path) for path in HOT)


SERVING = tuple(f"/v1/models/{name}" for name in ("load", "unload", "active", "deployments"))
FOR_ADMINS = (
    "/v1/organization",
    "/v1/fine_tuning/checkpoints",
    "/v1/routes",
    "/v1/upstreams",
    "/v1/prices",
    "/v1/budgets",
    "/v1/webhook",
    "/v1/sessions",
    *SERVING,
)
FOR_PROJECTS = {"/v1/budgets/current"}
PROTECTED = sorted(set(every()) - OPEN - SIGN_IN)


class TestEveryRoute:
    def test_all_are_walked(self) -> None:
        assert len(PROTECTED) >= 30
        assert ("POST", "/v1/chat/completions") in PROTECTED
        assert ("GET", "/v1/organization/projects/x/api_keys/x") in PROTECTED

    async def test_refuses_who_sends_no_key_or_a_wrong_one(self, app: App) -> None:
        async with client_of(app, None) as nobody, client_of(app, "sk-svcacct-wrong-wrong-wrong") as wrong:
            asked = [(client, *route) for route in PROTECTED for client in (nobody, wrong)]
            # at once: each wrong key waits for the next look at the database
            answers = await asyncio.gather(*(client.request(*route, content=b"{}") for client, *route in asked))
        for (_, *route), answer in zip(asked, answers, strict=True):
            assert error_in(answer, 401)["code"] == "invalid_api_key", route

    async def test_is_for_admins_or_for_projects(self, client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
        for method, path in PROTECTED:
            forbidden = client if path.startswith(FOR_ADMINS) and path not in FOR_PROJECTS else admin
            error = error_in(await forbidden.request(method, path, content=b"{}"), 403)
            assert error["code"] == "insufficient_permissions", (method, path)

    async def test_open_ones_answer_anybody(self, app: App) -> None:
        async with client_of(app, None) as nobody:
            for method, path in OPEN:
                assert (await nobody.request(method, path)).status_code in (200, 503)

    async def test_says_its_request_id(self, app: App) -> None:
        async with client_of(app, None) as nobody:
            for path in ("/health", "/nothing", "/v1/models"):
                answers = [await nobody.get(path) for _ in range(2)]
                ids = {answer.headers["x-request-id"] for answer in answers}
                assert len(ids) == 2
                assert all(
                    answer.headers.get_list("x-request-id") == [answer.headers["x-request-id"]] for answer in answers
                )
