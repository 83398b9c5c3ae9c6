"""One table says which scope each endpoint takes."""

from collections.abc import Iterator

import httpx
import pytest
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from gateway.app import App
from gateway.errors import Forbidden, InvalidRequest
from gateway.keys.scopes import ALL_READ, NEEDED, SCOPES, check_scopes, granted, require, require_for
from gateway.routes.model_calls import HOT
from tests.conftest import client_of
from tests.gateway.test_errors import error_in

PROJECTS = "/v1/organization/projects"


def endpoints(app: App) -> Iterator[tuple[str, str]]:
    """Method and URL of every endpoint for projects: those that ask for a caller."""
    for route in app.litestar.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                assert isinstance(handler, HTTPRouteHandler)
                if "caller" in handler.parsed_fn_signature.parameters:
                    methods = handler.http_methods - {"OPTIONS", "HEAD"}
                    yield from ((str(method), route.path_format) for method in methods)
    yield from (("POST", path) for path in HOT)


class TestTable:
    @pytest.mark.anyio
    async def test_names_every_endpoint_for_projects_and_no_other(self, app: App) -> None:
        assert set(endpoints(app)) == set(NEEDED)

    def test_every_scope_is_one_that_can_be_given_and_each_opens_something(self) -> None:
        opened = set(NEEDED.values())
        assert opened <= set(SCOPES)
        assert set(SCOPES) - opened == {ALL_READ, "api.model.export"}

    def test_reading_takes_a_read_scope_and_no_other(self) -> None:
        read = {scope for (method, _), scope in NEEDED.items() if method == "GET"}
        assert all(scope.endswith(".read") for scope in read)
        changing = {(url, scope) for (method, url), scope in NEEDED.items() if method != "GET"}
        assert {url for url, scope in changing if scope.endswith(".read")} == {"/v1/fine_tuning/estimate"}


class TestGranted:
    def test_writing_includes_reading(self) -> None:
        assert granted(["api.files.write"]) == {"api.files.write", "api.files.read"}

    def test_all_read_is_every_read_and_nothing_else(self) -> None:
        every = granted([ALL_READ]) - {ALL_READ}
        assert every == {scope for scope in SCOPES if scope.endswith(".read")} - {ALL_READ}

    def test_unknown_ones_are_named(self) -> None:
        with pytest.raises(InvalidRequest, match=r"no scope 'model\.ask'\. Choose from model\.request, ") as refused:
            check_scopes(["model.request", "model.ask"])
        assert refused.value.param == "scopes"


class TestRequire:
    def test_no_scopes_are_all_scopes(self) -> None:
        require(None, "model.request")
        require(None, None)

    def test_says_what_is_missing(self) -> None:
        with pytest.raises(Forbidden, match=r"Missing scopes: model\.request\."):
            require(frozenset({"api.files.read"}), "model.request")

    def test_an_endpoint_that_nobody_thought_of_is_closed(self) -> None:
        with pytest.raises(Forbidden):
            require_for(frozenset(SCOPES), "POST", "/v1/new")

    def test_head_is_get(self) -> None:
        require_for(frozenset({"api.files.read"}), "HEAD", "/v1/files")


@pytest.mark.anyio
class TestEveryEndpoint:
    async def test_refuses_a_key_with_every_scope_but_its_own(
        self, app: App, admin: httpx.AsyncClient, project_key: dict[str, str]
    ) -> None:
        """And takes one that has it: whatever it answers then, it is no 403 for want of a scope."""
        url = f"{PROJECTS}/{project_key['project_id']}/api_keys"
        clients: dict[tuple[str, bool], httpx.AsyncClient] = {}
        for scope in set(NEEDED.values()):
            others = [each for each in SCOPES if scope not in granted([each])]
            for has, scopes in ((True, [scope]), (False, others)):
                made = (await admin.post(url, json={"scopes": scopes})).json()
                clients[scope, has] = client_of(app, made["value"])
        for (method, path), scope in NEEDED.items():
            there = path.replace("{", "").replace("}", "")
            refused = await clients[scope, False].request(method, there, content=b"{}")
            error = error_in(refused, 403)
            assert (error["code"], f"Missing scopes: {scope}." in error["message"]) == (
                "insufficient_permissions",
                True,
            )
            taken = await clients[scope, True].request(method, there, content=b"{}")
            assert taken.status_code != 403 or "Missing scopes" not in taken.text, (method, path)
        for client in clients.values():
            await client.aclose()
