"""/v1/models"""

import httpx
import pytest

from tests.contract import conforms

pytestmark = pytest.mark.anyio


class TestModels:
    async def test_are_listed_as_openai_does(self, client: httpx.AsyncClient) -> None:
        body = (await client.get("/v1/models")).json()
        conforms("ListModelsResponse", body)
        assert {"id": "echo", "object": "model", "created": 0, "owned_by": "fake"} in body["data"]

    async def test_one_by_its_name(self, client: httpx.AsyncClient) -> None:
        for path in ("echo", "模型 é", "%E6%A8%A1%E5%9E%8B%20%C3%A9"):
            body = (await client.get(f"/v1/models/{path}")).json()
            conforms("Model", body)
        assert body["id"] == "模型 é"

    async def test_an_unknown_one_is_404(self, client: httpx.AsyncClient) -> None:
        for path in ("nothing", "org%2Fname", "ft:base:org::x", "a/b/c"):
            answer = await client.get(f"/v1/models/{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
