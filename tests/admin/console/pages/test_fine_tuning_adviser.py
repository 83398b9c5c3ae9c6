"""A model's advice on a training: it answers well, badly, too late, or not at all."""

import json
import re
from html import unescape
from typing import Any

import httpx
import msgspec
import pytest

from admin.console.pages import fine_tuning_adviser
from gateway.app import App
from gateway.settings import EngineSettings, PriceSettings, Settings, UpstreamSettings
from tests.admin.console.browsers import Browser, text_of
from tests.fakes.engine import BASE
from tests.fakes.upstream import Upstream
from tests.gateway.people import add
from tests.polling import until

pytestmark = pytest.mark.anyio

LINE = b'{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day"}]}\n'
PAIR = (
    b'{"input": {"messages": [{"role": "user", "content": "hello"}]}, "preferred_output": [{"role": "assistant",'
    b' "content": "good day"}], "non_preferred_output": [{"role": "assistant", "content": "what"}]}\n'
)
SETTINGS = {
    "type": "lora",
    "lora_rank": 24,
    "n_epochs": 2,
    "batch_size": "auto",
    "learning_rate_multiplier": 1,
    "context_length": 512,
}
GOOD: dict[str, Any] = {
    "base_model": BASE,
    "method": "supervised",
    "settings": SETTINGS,
    "why": "Labels need <b>room</b>.",
    "risks": ["Rare labels are forgotten."],
    "data_to_add": ["Ten tickets of each label."],
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With an engine that is away, and a provider's model that says what it is told to."""
    engine = EngineSettings(url="http://127.0.0.1:9/v1", model=BASE, model_path="/nowhere")
    [fake] = settings.upstreams
    models = (*fake.models, "told")
    upstreams: tuple[UpstreamSettings, ...] = (msgspec.structs.replace(fake, models=models),)
    prices = (*settings.prices, PriceSettings(model="told", input=5.0, output=10.0))
    return msgspec.structs.replace(settings, engine=engine, upstreams=upstreams, prices=prices)


@pytest.fixture
def home(project_id: str) -> str:
    return f"/console/projects/{project_id}/fine-tuning"


@pytest.fixture
async def wish(client: httpx.AsyncClient) -> dict[str, str]:
    file = {"file": ("tickets.jsonl", LINE * 200), "purpose": (None, "fine-tune")}
    answer = await client.post("/v1/files", files=file)
    return {"goal": "Classify tickets", "matters": "quality", "data": answer.json()["id"], "model": BASE}


async def ask(owner: Browser, home: str, wish: dict[str, str], adviser: str = "told") -> str:
    return await owner.send(f"{home}/advice", **wish, adviser=adviser)


class TestAnAnswer:
    async def test_stands_beside_the_rules_and_is_taken_over_with_a_click(
        self, owner: Browser, home: str, wish: dict[str, str], upstream: Upstream
    ) -> None:
        upstream.says = json.dumps(GOOD)
        html = await ask(owner, home, wish)
        page = text_of(html)
        assert "Adapter rank 16 Labels take a medium adapter. 24 different" in page
        assert "Training type lora" in page
        assert "the same" in page
        assert "Rare labels are forgotten." in page
        assert "Ten tickets of each label." in page
        adopted = re.search(r'href="([^"]*)">Take over the model', html)
        assert adopted
        settings = await owner.open(unescape(adopted[1]))
        assert re.search(r'name="lora_rank"[^>]*value="24"', settings)
        assert re.search(r'name="context_length"[^>]*value="512"', settings)
        kept = re.search(r'href="([^"]*)">Stay with the rules', html)
        assert kept
        assert re.search(r'name="lora_rank"[^>]*value="16"', await owner.open(unescape(kept[1])))

    async def test_is_text_whatever_it_holds(
        self, owner: Browser, home: str, wish: dict[str, str], upstream: Upstream
    ) -> None:
        upstream.says = json.dumps(GOOD)
        html = await ask(owner, home, wish)
        assert "Labels need &lt;b&gt;room&lt;/b&gt;." in html
        assert "<b>room" not in html

    async def test_the_model_reads_figures_of_the_data_and_no_row_of_it(
        self, owner: Browser, home: str, wish: dict[str, str], upstream: Upstream
    ) -> None:
        upstream.says = json.dumps(GOOD)
        await ask(owner, home, wish)
        [call] = upstream.requests
        told = json.loads(call["messages"][1]["content"])
        assert told["wanted"]["goal"] == "Classify tickets"
        assert told["data"]["usable_examples"] == 200
        assert told["rules"]["lora_rank"]["value"] == 16
        assert [each["id"] for each in told["base_models"]] == [BASE]
        assert "good day" not in json.dumps(call)
        assert call["response_format"]["json_schema"]["schema"]["properties"]["base_model"]["enum"] == [BASE]

    async def test_is_a_call_of_the_persons_own(
        self, owner: Browser, home: str, wish: dict[str, str], upstream: Upstream, client: httpx.AsyncClient
    ) -> None:
        upstream.says = json.dumps(GOOD)
        linked = re.search(r"/exchanges/([\w-]+)", await ask(owner, home, wish))
        assert linked

        async def logged() -> bool:
            return (await client.get(f"/v1/exchanges/{linked[1]}")).status_code == 200

        await until(logged)
        exchange = (await client.get(f"/v1/exchanges/{linked[1]}")).json()
        assert exchange["requested_model"] == "told"
        assert exchange["metadata"] == {"purpose": "fine_tuning_adviser"}
        assert exchange["cost_nano"] > 0


class TestWithoutAnAnswer:
    async def falls_back(self, html: str, why: str) -> None:
        page = text_of(html)
        assert "There is no advice of a model." in page
        assert why in page
        assert "Adapter rank 16 Labels take a medium adapter." in page
        assert "Take over" not in page

    @pytest.mark.parametrize(
        ("says", "why"),
        [
            ("Take the large one.", "not the JSON that was asked for"),
            (json.dumps({**GOOD, "base_model": "gpt-17"}), "“gpt-17”, which cannot be trained here"),
            (json.dumps({**GOOD, "settings": {**SETTINGS, "n_epochs": 5000}}), "not the form that was asked for"),
        ],
    )
    async def test_a_bad_one_counts_for_nothing(
        self, owner: Browser, home: str, wish: dict[str, str], upstream: Upstream, says: str, why: str
    ) -> None:
        upstream.says = says
        await self.falls_back(await ask(owner, home, wish), why)

    async def test_one_that_comes_too_late(
        self,
        owner: Browser,
        home: str,
        wish: dict[str, str],
        upstream: Upstream,
        client: httpx.AsyncClient,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(fine_tuning_adviser, "SECONDS", 0.2)
        await self.falls_back(await ask(owner, home, wish, "slow"), "slow did not answer within 0.2 seconds")
        upstream.release.set()  # what comes then is charged, so it is in the log

        async def logged() -> bool:
            found = (await client.get("/v1/exchanges", params={"model": "slow"})).json()["data"]
            return [each["outcome"] for each in found] == ["completed"]

        await until(logged)

    @pytest.mark.parametrize(
        ("adviser", "why"), [("status-500", "could not be asked."), ("gone", "could not be asked.")]
    )
    async def test_none_at_all(self, owner: Browser, home: str, wish: dict[str, str], adviser: str, why: str) -> None:
        await self.falls_back(await ask(owner, home, wish, adviser), why)

    async def test_of_pairs_the_rules_say_more(
        self, owner: Browser, home: str, wish: dict[str, str], client: httpx.AsyncClient
    ) -> None:
        file = {"file": ("pairs.jsonl", PAIR * 60), "purpose": (None, "fine-tune")}
        pairs = (await client.post("/v1/files", files=file)).json()["id"]
        page = text_of(await ask(owner, home, {**wish, "data": pairs}, "gone"))
        assert "Method dpo" in page
        assert "Beta 0.1" in page

    async def test_an_engine_without_structured_outputs_is_asked_without(
        self, owner: Browser, home: str, wish: dict[str, str], upstream: Upstream
    ) -> None:
        await self.falls_back(await ask(owner, home, wish, "no-schema"), "not the form that was asked for")
        assert ["response_format" in each for each in upstream.requests] == [True, False]


class TestWhoMayAsk:
    async def test_it_is_offered_once_the_data_is_known(self, owner: Browser, home: str, wish: dict[str, str]) -> None:
        query = f"goal=x&data={wish['data']}&model={BASE}"
        for step in ("model", "settings"):
            page = await owner.open(f"{home}/new?step={step}&{query}")
            assert f'action="{home}/advice"' in page
            assert '<option value="told"' in page
        assert "only base model" in text_of(await owner.open(f"{home}/new?step=model&{query}"))

    async def test_readers_are_not_offered_it(
        self, app: App, admin: httpx.AsyncClient, home: str, wish: dict[str, str], upstream: Upstream
    ) -> None:
        await add(admin, "reader@example.com", "reader")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            page = await browser.open(f"{home}/new?step=model&goal=x&data={wish['data']}")
            assert "A second opinion" not in page
            await TestWithoutAnAnswer().falls_back(await ask(browser, home, wish), "could not be asked")
        assert upstream.requests == []
