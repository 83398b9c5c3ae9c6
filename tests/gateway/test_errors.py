"""Every refusal: its status, type and code, and that nothing else ever reaches a client."""

import json
from typing import Any

import httpx
import msgspec
import pytest

from gateway import errors
from gateway.app import App
from gateway.errors import (
    ECHO_LIMIT,
    BudgetBusy,
    BudgetExhausted,
    ClientLeft,
    Conflict,
    ContentTooLarge,
    ErrorObject,
    ExportFailed,
    Forbidden,
    InvalidJson,
    InvalidRequest,
    MethodNotAllowed,
    MissingParameter,
    ModelLoading,
    ModelNotFound,
    ModelUnservable,
    NoEncryptionKey,
    NotFound,
    PriceMissing,
    RangeNotSatisfiable,
    RateLimited,
    Refusal,
    SpoolFull,
    Surprise,
    TooManyAttempts,
    Unauthenticated,
    Unavailable,
    Unconfirmed,
    UnknownKey,
    UnknownUrl,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
    Withheld,
    decode_error_object,
    refusal_of,
    to_openai_error,
)
from gateway.services import Services
from gateway.settings import Settings
from tests.conftest import chat, client_of
from tests.contract import conforms

CHAT = "/v1/chat/completions"
PROJECTS = "/v1/organization/projects"
REQUEST, SERVER = "invalid_request_error", "server_error"
LIMITED = RateLimited("m", type="tokens", headers={}, limit="tokens_per_minute", shared=True)

EVERY: list[tuple[Refusal, int, str, str | None, str | None]] = [
    (InvalidRequest("m", param="p"), 400, REQUEST, "p", "invalid_value"),
    (InvalidRequest("m", code="integer_below_min_value"), 400, REQUEST, None, "integer_below_min_value"),
    (MissingParameter("model"), 400, REQUEST, "model", "missing_required_parameter"),
    (InvalidJson("m"), 400, REQUEST, None, None),
    (NoEncryptionKey("m"), 400, REQUEST, None, "no_encryption_key"),
    (ContentTooLarge("m"), 413, REQUEST, None, "content_too_large"),
    (Withheld("support", ["form"]), 400, REQUEST, None, "content_filter"),
    (RangeNotSatisfiable(5), 416, REQUEST, None, "invalid_value"),
    (ClientLeft(), 400, REQUEST, None, None),
    (Unauthenticated("m"), 401, REQUEST, None, "invalid_api_key"),
    (UnknownKey("sk-...x"), 401, REQUEST, None, "invalid_api_key"),
    (Forbidden("m"), 403, REQUEST, None, "insufficient_permissions"),
    (NotFound("m", param="id"), 404, REQUEST, "id", "not_found"),
    (ModelNotFound("x"), 404, REQUEST, "model", "model_not_found"),
    (UnknownUrl("GET", "/x"), 404, REQUEST, None, "unknown_url"),
    (MethodNotAllowed("PUT", "/x"), 405, REQUEST, None, "method_not_supported"),
    (Conflict("m"), 409, REQUEST, None, "conflict"),
    (PriceMissing("x"), 400, REQUEST, "model", "price_missing"),
    (BudgetExhausted("m"), 429, "insufficient_quota", None, "insufficient_quota"),
    (BudgetBusy("m"), 429, "requests", None, "budget_reserved"),
    (TooManyAttempts(9), 429, REQUEST, None, "too_many_attempts"),
    (LIMITED, 429, "tokens", None, "rate_limit_exceeded"),
    (UpstreamRefused(422, ErrorObject(message="m", type="t", param="p", code="c")), 422, "t", "p", "c"),
    (UpstreamFailed("m"), 502, SERVER, None, "upstream_failed"),
    (UpstreamTimeout("m"), 504, SERVER, None, "upstream_timeout"),
    (Unavailable("m"), 503, SERVER, None, "service_unavailable"),
    (ModelLoading("m"), 503, SERVER, None, "model_loading"),
    (Unconfirmed("m"), 503, SERVER, None, "service_unavailable"),
    (SpoolFull("Full."), 503, SERVER, None, "exchange_log_full"),
    (ModelUnservable("x", "why"), 503, SERVER, None, "model_unavailable"),
    (ExportFailed("m"), 500, SERVER, None, "export_failed"),
    (Surprise(), 500, SERVER, None, None),
]


def error_in(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The error object of a refused call; its four keys are always there."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-request-id"].startswith("req_")
    body = answer.json()
    conforms("ErrorResponse", body)
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    return body["error"]


class TestRendering:
    @pytest.mark.parametrize(
        ("refusal", "status", "type", "param", "code"), EVERY, ids=[type(each[0]).__name__ for each in EVERY]
    )
    def test_has_openais_form(
        self, refusal: Refusal, status: int, type: str, param: str | None, code: str | None
    ) -> None:
        rendered, body, _ = to_openai_error(refusal)
        error = json.loads(body)["error"]
        conforms("ErrorResponse", json.loads(body))
        assert (rendered, error) == (status, {"message": str(refusal), "type": type, "param": param, "code": code})

    def test_every_refusal_is_in_the_list_above(self) -> None:
        listed = {type(each[0]) for each in EVERY}
        assert listed == {each for each in _below(Refusal) if each.__module__ == errors.__name__}

    def test_every_refusal_is_in_the_drawn_tree(self) -> None:
        assert all(
            each.__name__ in (errors.__doc__ or "") for each in _below(Refusal) if each.__module__ == errors.__name__
        )

    def test_a_client_is_told_when_to_try_again(self) -> None:
        assert to_openai_error(Unavailable("m", retry_after=3))[2] == {"retry-after": "3"}

    def test_a_clients_own_words_are_cut(self) -> None:
        for refusal in (ModelNotFound("x" * 10_000), UnknownUrl("GET", "/" + "x" * 10_000)):
            assert len(str(refusal)) < ECHO_LIMIT + 200


class TestRefusalOf:
    def test_a_refusal_is_itself(self) -> None:
        refusal = Conflict("m")
        assert refusal_of(refusal) is refusal

    @pytest.mark.parametrize("error", [RuntimeError("secret"), KeyboardInterrupt()])
    def test_others_are_surprises(self, error: BaseException) -> None:
        assert type(refusal_of(error)) is Surprise
        assert "secret" not in str(refusal_of(error))


class TestDecodeErrorObject:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (
                b'{"error": {"message": "m", "type": "t", "param": "p", "code": "c"}}',
                ErrorObject(message="m", type="t", param="p", code="c"),
            ),
            (b'{"error": {"message": "m", "code": 404}}', ErrorObject(message="m", type=REQUEST)),  # vLLM
            (b'{"message": "m", "type": null, "object": "error"}', ErrorObject(message="m", type=REQUEST)),
        ],
    )
    def test_takes_the_common_forms(self, body: bytes, expected: ErrorObject) -> None:
        assert decode_error_object(body) == expected

    @pytest.mark.parametrize(
        "body",
        [b"", b"<html>", b"[]", b"{}", b'{"error": "m"}', b'{"error": {"message": 1}}', b'{"error": {"message": "\xff"}}',
         b'{"error":' + b"[" * 100_000],
        ids=["empty", "html", "list", "object", "text", "number", "not utf-8", "nested without end"],
    )  # fmt: skip
    def test_everything_else_is_none(self, body: bytes) -> None:
        assert decode_error_object(body) is None


@pytest.mark.anyio
class TestOverHttp:
    async def test_an_unknown_url(self, client: httpx.AsyncClient) -> None:
        for method, path in (
            ("GET", "/"),
            ("POST", "/v1/nothing"),
            ("GET", "/v1/chat/completions/x/y"),
            ("PUT", "/%00"),
        ):
            error = error_in(await client.request(method, path), 404)
            assert error["code"] == "unknown_url"
            assert method in error["message"]

    async def test_a_wrong_method(self, client: httpx.AsyncClient) -> None:
        for method, path in (("PUT", "/v1/models"), ("DELETE", PROJECTS), ("POST", "/health")):
            assert error_in(await client.request(method, path), 405)["code"] == "method_not_supported"

    async def test_a_body_that_is_not_json(self, client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
        for caller, path in ((client, CHAT), (client, "/v1/completions"), (admin, PROJECTS)):
            for body in (b"{", b"nope", b"\xff\xfe", b'{"name": "x", }'):
                error = error_in(await caller.post(path, content=body), 400)
                assert "could not parse the JSON body" in error["message"]
            assert "empty" in error_in(await caller.post(path), 400)["message"]

    async def test_a_body_nested_without_end(self, client: httpx.AsyncClient) -> None:
        body = b'{"model": "echo", "messages": ' + b"[" * 200_000
        assert "nested too deeply" in error_in(await client.post(CHAT, content=body), 400)["message"]

    async def test_a_wrong_type_is_named(self, client: httpx.AsyncClient) -> None:
        wrong: dict[str, dict[str, Any]] = {
            "model": {"model": 1},
            "messages": {"messages": "hello"},
            "stream": {"stream": "yes"},
            "stream_options.include_usage": {"stream_options": {"include_usage": 5}},
            "metadata[...]": {"metadata": {"a": 1}},
        }
        for param, change in wrong.items():
            assert error_in(await client.post(CHAT, json=chat("echo") | change), 400)["param"] == param

    async def test_a_missing_field_is_named(self, client: httpx.AsyncClient) -> None:
        for missing in ("model", "messages"):
            body = {name: value for name, value in chat("echo").items() if name != missing}
            error = error_in(await client.post(CHAT, json=body), 400)
            assert (error["param"], error["code"]) == (missing, "missing_required_parameter")

    async def test_an_unknown_model(self, client: httpx.AsyncClient) -> None:
        error = error_in(await client.post(CHAT, json=chat("nothing")), 404)
        assert (error["param"], error["code"]) == ("model", "model_not_found")

    async def test_a_surprise_hides_its_message(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: object, **__: object) -> None:
            raise RuntimeError("the secret is 42")

        monkeypatch.setattr(sv.catalog, "find", fails)
        monkeypatch.setattr(sv.database, "session", fails)
        for answer in (
            await client.post(CHAT, json=chat("echo")),
            await admin.get(PROJECTS),
            await client.get("/v1/models/x"),
        ):
            error = error_in(answer, 500)
            assert "42" not in error["message"]
            assert error["type"] == SERVER

    async def test_a_text_with_nul_is_refused(self, client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
        for answer in (
            await admin.get(f"{PROJECTS}/%00"),
            await admin.get(PROJECTS, params={"after": "\0"}),
            await admin.post(PROJECTS, json={"name": "\0"}),
            await client.get("/v1/exchanges", params={"metadata[a]": "\0"}),
        ):
            assert "NUL" in error_in(answer, 400)["message"]


@pytest.mark.anyio
class TestTooLarge:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, max_body_bytes=1000)

    async def test_a_body_over_the_limit_is_413(
        self, app: App, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        big = b'{"name": "' + b"x" * 1000 + b'"}'
        async with client_of(app, project_key["value"]) as client:
            assert error_in(await client.post(CHAT, content=big), 413)["code"] == "content_too_large"
        assert error_in(await admin.post(PROJECTS, content=big), 413)["code"] == "content_too_large"

    async def test_a_body_in_pieces_too(self, client: httpx.AsyncClient) -> None:
        async def pieces() -> Any:
            for _ in range(11):
                yield b"x" * 100

        error_in(await client.post(CHAT, content=pieces()), 413)


def _below(kind: type[Refusal]) -> set[type[Refusal]]:
    return {each for below in kind.__subclasses__() for each in (below, *_below(below))}
