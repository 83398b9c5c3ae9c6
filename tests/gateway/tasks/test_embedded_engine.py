"""The real embedded engine, real adapters: probed against what was measured beside them, more than fit, and over a sleep."""

import json
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from gateway.fine_tuning.publish import DIRECTORY
from gateway.services import Services, WorkerServices
from gateway.serving import repository
from gateway.settings import EngineSettings, Settings
from gateway.tasks import share_device
from gateway.tasks.reconcile_adapters import reconcile_adapters
from gateway.upstreams.engine import Engine
from tests.conftest import chat
from tests.fakes.fine_tuning import until
from tests.fakes.tuned_models import add_job, add_tuned
from tests.fakes.working import working
from tests.vllm.servers import MODEL, serving
from trainer.contract import PROBE, Probe, decode_probe
from trainer.starter import STARTER

pytestmark = [pytest.mark.anyio, pytest.mark.train, pytest.mark.slow]

Client = httpx.AsyncClient
NO_FALLBACK = {"x-tuneway-fallback": "off"}
ADAPTERS, ROOM = 12, 3


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    arguments = ["--model", str(STARTER), "--served-model-name", MODEL, "--device", "cpu"]
    log = tmp_path_factory.mktemp("engine") / "log"
    with serving("trainer.engine", *arguments, log=log, OMP_NUM_THREADS="1") as url:
        yield f"{url}/v1"


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """LoRA adapters with random weights, each with a probe as the trainer would have measured it."""
    torch = pytest.importorskip("torch")
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from trainer.probe import Asked, log_probs

    torch.set_num_threads(1)
    base = AutoModelForCausalLM.from_pretrained(STARTER, dtype=torch.float32)
    asked = Asked(AutoTokenizer.from_pretrained(STARTER)("What is the colour of the sky? It is blue.").input_ids, 3)
    made: list[Path] = []
    for seed in range(ADAPTERS):
        torch.manual_seed(seed)
        config = LoraConfig(
            r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
        )
        model = get_peft_model(base, config).eval()
        directory = tmp_path_factory.mktemp("adapter")
        model.save_pretrained(directory)
        with torch.no_grad():
            tuned = log_probs(model, asked)
            with model.disable_adapter():
                plain = log_probs(model, asked)
        known = Probe(token_ids=asked.token_ids, first=3, logprobs=tuned, base_logprobs=plain, dtype="float32")
        (directory / PROBE).write_bytes(msgspec.json.encode(known))
        base = model.unload()
        made.append(directory)
    return made


@pytest.fixture
def settings(settings: Settings, url: str) -> Settings:
    engine = EngineSettings(url=url, model=MODEL, model_path=str(STARTER), max_adapters=ROOM, probe_tolerance=1e-3)
    return msgspec.structs.replace(settings, engine=engine)


@pytest.fixture
async def models(
    wv: WorkerServices, sv: Services, url: str, adapters: list[Path], project_key: dict[str, Any]
) -> AsyncIterator[list[str]]:
    """A model of each adapter; at the end the engine forgets them."""
    names: list[str] = []
    (wv.settings.data_dir / DIRECTORY).mkdir()
    for number, adapter in enumerate(adapters):
        job = await add_job(wv.database, project_key, f"ftjob-{number:08d}")
        row = await add_tuned(wv.database, job)
        (wv.settings.data_dir / row.adapter_path).symlink_to(adapter)
        names.append(row.id)
    await sv.mirrors.refresh()
    yield names
    engine = Engine(wv.upstreams, url)
    for name in await engine.models():
        if name in names:
            await engine.unload_adapter(name)


async def said(client: Client, model: str, known: Probe) -> list[float]:
    """How probable the answerer finds the probe's tokens: its fingerprint."""
    body = {"model": model, "prompt": known.token_ids, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    answer = await client.post("/v1/completions", json=body, headers=NO_FALLBACK)
    assert answer.status_code == 200, answer.text
    [choice] = answer.json()["choices"]
    pairs = zip(known.token_ids, choice["prompt_logprobs"], strict=True)
    return [entry[str(token)]["logprob"] for token, entry in list(pairs)[known.first :]]


async def rows(wv: WorkerServices, url: str) -> dict[str, Any]:
    async with wv.database.session() as session:
        return await repository.loaded_on(session, url)


class TestProbe:
    async def test_engine_says_what_was_measured_to_three_digits(
        self, wv: WorkerServices, url: str, models: list[str]
    ) -> None:
        await reconcile_adapters(wv)
        loaded = await rows(wv, url)
        assert len(loaded) == ROOM
        for row in loaded.values():
            assert row.state == "ready"
            assert row.probe["difference"] < 1e-3
            assert row.probe["from_base"] > 0.1

    async def test_files_of_another_adapter_are_found_out(
        self, wv: WorkerServices, url: str, models: list[str], adapters: list[Path]
    ) -> None:
        [swapped] = [
            path for path in (wv.settings.data_dir / DIRECTORY).iterdir() if path.name.endswith(f"{ADAPTERS - 1:08d}")
        ]
        swapped.unlink()
        swapped.mkdir()
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (swapped / name).write_bytes((adapters[0] / name).read_bytes())
        (swapped / PROBE).write_bytes((adapters[-1] / PROBE).read_bytes())
        await reconcile_adapters(wv)
        row = (await rows(wv, url))[models[-1]]
        assert (row.state, row.code) == ("failed", "probe_failed")
        assert models[-1] not in await Engine(wv.upstreams, url).models()

    async def test_rank_that_no_engine_serves_is_named(
        self, wv: WorkerServices, url: str, models: list[str], adapters: list[Path]
    ) -> None:
        [large] = [
            path for path in (wv.settings.data_dir / DIRECTORY).iterdir() if path.name.endswith(f"{ADAPTERS - 1:08d}")
        ]
        large.unlink()
        large.mkdir()
        config = json.loads((adapters[-1] / "adapter_config.json").read_text()) | {"r": 1024}
        (large / "adapter_config.json").write_text(json.dumps(config))
        (large / "adapter_model.safetensors").write_bytes((adapters[-1] / "adapter_model.safetensors").read_bytes())
        await reconcile_adapters(wv)
        row = (await rows(wv, url))[models[-1]]
        assert (row.state, row.code) == ("failed", "rank_too_large")


class TestTwelveOnThree:
    async def test_each_call_is_answered_by_its_adapter_also_after_it_had_left(
        self, client: Client, wv: WorkerServices, sv: Services, url: str, models: list[str], adapters: list[Path]
    ) -> None:
        await reconcile_adapters(wv)
        await sv.mirrors.refresh()
        async with working(wv, round_seconds=0.3):
            known = {
                model: decode_probe((path / PROBE).read_bytes()) for model, path in zip(models, adapters, strict=True)
            }
            for model in [*models, *random.Random(5).choices(models, k=24)]:
                numbers = await said(client, model, known[model])
                assert numbers == pytest.approx(known[model].logprobs, abs=1e-3)
            assert len({round(probe.logprobs[0], 2) for probe in known.values()}) > ADAPTERS / 2  # they are not alike

            async def at_rest() -> bool:
                return len(await Engine(wv.upstreams, url).models()) == 1 + ROOM

            await until(at_rest)


class TestSleep:
    async def test_adapters_answer_as_before_after_a_sleep(
        self,
        client: Client,
        wv: WorkerServices,
        sv: Services,
        settings: Settings,
        url: str,
        models: list[str],
        adapters: list[Path],
    ) -> None:
        shared = msgspec.structs.replace(settings.engine, sharing="sleep")
        object.__setattr__(wv, "settings", msgspec.structs.replace(settings, engine=shared))
        await reconcile_adapters(wv)
        await sv.mirrors.refresh()
        [model, *_] = [name for name in models if sv.residency.ready(name)]
        known = decode_probe((adapters[models.index(model)] / PROBE).read_bytes())
        await share_device.put_to_sleep(wv, "ftjob-00000000")
        engine = Engine(wv.upstreams, url)
        assert await engine.is_sleeping()
        await sv.mirrors.refresh()
        answer = await client.post("/v1/chat/completions", json=chat(model), headers=NO_FALLBACK)
        assert answer.status_code == 503
        await share_device.wake(wv, "ftjob-00000000")
        assert not await engine.is_sleeping()
        await reconcile_adapters(wv)
        await sv.mirrors.refresh()
        assert url in sv.residency.ready(model)
        assert await said(client, model, known) == pytest.approx(known.logprobs, abs=1e-3)
