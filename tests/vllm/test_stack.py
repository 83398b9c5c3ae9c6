"""`tuneway serve --engine vllm` with a real vLLM: train, load, probe, chat; fallback while it is away; adapters that come
back by themselves; a second replica; weights of their own; and nothing that stays behind.

One stack for the whole file, in the order of its classes: each start of vLLM takes half a minute.
"""

import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytest.importorskip("torch")

import msgspec
from openai import NotFoundError, OpenAI
from openai.types.fine_tuning import FineTuningJob

from deploy.demo.stack import DemoStack, Key, running
from gateway.upstreams.engine import decode_completion
from tests.fakes.upstream import Upstream, running_upstream
from tests.faults.parts import is_gone, kill, part
from tests.openai_sdk.stacks import ended, examples, question_and_answer, start_job, user, wait_until
from tests.vllm.gate import Gate, standing_gate, unload
from tests.vllm.servers import serving
from trainer.contract import PROBE, Probe
from trainer.starter import STARTER

pytestmark = [pytest.mark.vllm, pytest.mark.train, pytest.mark.slow]

ENGINE_KEY = "sk-engine-of-the-tests"
CONFIG = """
[engine]
replicas = ["{second}/v1"]
api_key = "{key}"

[vllm]
dtype = "float32"             # as the trainer computes on a CPU
max_loras = 2
max_num_seqs = 8

[routing]
fallbacks = {{ starter = ["echo"] }}

[[upstreams]]
name = "provider"
base_url = "{provider}"
models = ["echo"]
"""
WITHOUT_AN_ENGINE = """
[[upstreams]]
name = "own"
base_url = "{own}/v1"
models = ["{model}"]
"""
NO_FALLBACK = {"x-tuneway-fallback": "off"}
TOLERANCE = 1e-3
CALLS = 12
QUESTION, ANSWER = question_and_answer(0)


@pytest.fixture(scope="module")
def provider() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    """Where the second replica will be."""
    with standing_gate() as gate:
        yield gate


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tuneway-vllm-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@pytest.fixture(scope="module")
def stack(directory: Path, provider: Upstream, gate: Gate) -> Iterator[DemoStack]:
    config = CONFIG.format(second=gate.url, key=ENGINE_KEY, provider=provider.url)
    with running(DemoStack(directory, config=config, engine="vllm")) as stack:
        yield stack


def connect(stack: DemoStack, key: Key) -> OpenAI:
    """A client that tries once. vLLM's replies hold null where OpenAI's schema has an array or nothing, which the SDK takes as it is."""
    return OpenAI(base_url=f"{stack.url}/v1", api_key=key.value, max_retries=0)


@pytest.fixture(scope="module")
def key(stack: DemoStack) -> Key:
    return stack.make_key("shop", "web")


@pytest.fixture(scope="module")
def client(stack: DemoStack, key: Key) -> Iterator[OpenAI]:
    with connect(stack, key) as client:
        yield client


@pytest.fixture(scope="module")
def tuned(client: OpenAI) -> FineTuningJob:
    job = ended(client, start_job(client, examples(24), n_epochs=20).id)
    assert job.status == "succeeded", job.error
    return job


@pytest.fixture(scope="module")
def model(tuned: FineTuningJob) -> str:
    return str(tuned.fine_tuned_model)


@pytest.fixture(scope="module")
def vllm(stack: DemoStack) -> Iterator[httpx.Client]:
    """Calls vLLM itself, past the gateway."""
    command = psutil.Process(part(stack, "engine").pid).cmdline()
    port = command[command.index("--port") + 1]
    headers = {"authorization": f"Bearer {ENGINE_KEY}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
        yield client


def ask(client: OpenAI, model: str, **options: Any) -> tuple[str, dict[str, str]]:
    """-> the answer to QUESTION, and the headers that say who gave it."""
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=user(QUESTION), temperature=0, max_tokens=40, **options
    )
    return raw.parse().choices[0].message.content or "", dict(raw.headers)


def knows(client: OpenAI, model: str) -> bool:
    """Whether the model itself answers, and what it was taught."""
    try:
        return ask(client, model, extra_headers=NO_FALLBACK)[0] == ANSWER
    except Exception as error:
        if getattr(error, "status_code", 0) < 500:
            raise
        return False


class TestAdapter:
    def test_answers_what_it_was_taught(self, client: OpenAI, model: str):
        assert ask(client, model, extra_headers=NO_FALLBACK)[0] == ANSWER
        assert ask(client, "starter")[0] != ANSWER

    def test_streams(self, client: OpenAI, model: str):
        stream = client.chat.completions.create(
            model=model, messages=user(QUESTION), temperature=0, max_tokens=40, stream=True
        )
        chunks = list(stream)
        assert {chunk.model for chunk in chunks} == {model}
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER

    def test_is_as_probable_as_the_trainer_found_it(self, stack: DemoStack, vllm: httpx.Client, model: str):
        """With the adapter and without it, token by token."""
        probe = msgspec.json.decode((self.path(vllm, model) / PROBE).read_bytes(), type=Probe)
        assert probe.base_logprobs is not None
        for name, expected in ((model, probe.logprobs), ("starter", probe.base_logprobs)):
            assert self.logprobs(vllm, name, probe) == pytest.approx(expected, abs=TOLERANCE)
        assert probe.logprobs != pytest.approx(probe.base_logprobs, abs=100 * TOLERANCE)

    def path(self, vllm: httpx.Client, model: str) -> Path:
        cards = vllm.get("/v1/models").raise_for_status().json()["data"]
        return Path(next(card["root"] for card in cards if card["id"] == model))

    def logprobs(self, vllm: httpx.Client, model: str, probe: Probe) -> list[float]:
        body = {"model": model, "prompt": probe.token_ids, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        [choice] = decode_completion(vllm.post("/v1/completions", json=body).raise_for_status().content).choices
        assert choice.prompt_logprobs is not None
        told = zip(probe.token_ids, choice.prompt_logprobs, strict=True)
        return [each[str(id)].logprob for id, each in list(told)[probe.first :] if each is not None]


class TestSecrets:
    def test_vllm_asks_for_its_key(self, vllm: httpx.Client):
        for path in ("/v1/models", "/v1/load_lora_adapter"):
            assert httpx.get(f"{vllm.base_url}{path}").status_code == 401

    def test_the_key_is_on_no_command_line(self, stack: DemoStack):
        family = psutil.Process(part(stack, "engine").pid)
        assert len(family.children(recursive=True)) >= 3
        for process in (family, *family.children(recursive=True)):
            assert ENGINE_KEY not in " ".join(process.cmdline())

    def test_it_listens_on_this_machine_alone(self, stack: DemoStack):
        for process in psutil.Process(part(stack, "engine").pid).children(recursive=True):
            listening = [each.laddr.ip for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
            assert set(listening) <= {"127.0.0.1"}

    def test_its_own_endpoints_are_not_the_gateways(self, stack: DemoStack, key: Key):
        headers = {"authorization": f"Bearer {key.value}"}
        for path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/sleep", "/reset_prefix_cache", "/tokenize"):
            assert httpx.post(f"{stack.url}{path}", headers=headers, json={}).status_code == 404


@pytest.fixture(scope="module")
def crashed(stack: DemoStack, model: str) -> list[psutil.Process]:
    """vLLM's processes, none of which may be left."""
    family = psutil.Process(part(stack, "engine").pid)
    processes = [family, *family.children(recursive=True)]
    [core] = [each for each in processes if "EngineCore" in "".join(each.cmdline())]
    kill(core.pid)
    return processes


class TestCrash:
    """The process that computes is killed, as the kernel would when memory is short."""

    def test_meanwhile_a_fallback_answers(
        self, crashed: list[psutil.Process], client: OpenAI, model: str, provider: Upstream
    ):
        answer, headers = ask(client, model)
        assert answer == QUESTION  # as `echo` answers
        assert headers["x-tuneway-model"] == "echo"
        assert headers["x-tuneway-fallback"]
        assert provider.requests[-1]["model"] == "echo"

    def test_it_comes_back_with_its_adapters(
        self, crashed: list[psutil.Process], stack: DemoStack, client: OpenAI, model: str
    ):
        wait_until(lambda: knows(client, model), "the adapter answers again")
        assert part(stack, "engine").restarts == 1
        assert all(map(is_gone, crashed))
        assert ask(client, "starter")[1]["x-tuneway-model"] == "starter"


@pytest.fixture(scope="module")
def second(gate: Gate, model: str, directory: Path) -> Iterator[str]:
    """Its URL. It has no room for models with weights of their own."""
    arguments = ["--model", str(STARTER), "--served-model-name", "starter", "--device", "cpu", "--max-models", "0"]
    with serving("trainer.engine", *arguments, log=directory / "second.log", OMP_NUM_THREADS="1") as url:
        gate.behind = url
        yield url
        gate.behind = None


class TestSecondReplica:
    """The embedded engine, which speaks as vLLM does."""

    def served(self, second: str) -> list[str]:
        return [card["id"] for card in httpx.get(f"{second}/v1/models").raise_for_status().json()["data"]]

    def test_gets_the_adapter_and_then_its_calls(self, second: str, gate: Gate, client: OpenAI, model: str):
        wait_until(lambda: knows(client, model) and gate.chats_of(model), "the second replica answers, too")
        assert model in self.served(second)

    def test_without_the_adapter_it_gets_no_call_of_it(self, second: str, gate: Gate, client: OpenAI, model: str):
        gate.refuses_loads = True
        unload(second, model)
        wait_until(lambda: self.is_quiet(gate, client, model), "calls of the adapter go elsewhere")
        gate.chats.clear()
        for _ in range(CALLS):
            assert ask(client, model, extra_headers=NO_FALLBACK)[0] == ANSWER
            ask(client, "starter")
        assert gate.chats_of(model) == 0
        assert gate.chats_of("starter") > 0

    def test_once_it_is_restored_it_does_again(self, second: str, gate: Gate, client: OpenAI, model: str):
        gate.refuses_loads = False
        wait_until(lambda: knows(client, model) and gate.chats_of(model), "the second replica answers again")
        assert model in self.served(second)

    def is_quiet(self, gate: Gate, client: OpenAI, model: str) -> bool:
        """Every call is answered by the adapter, from the first on; none of the last few at this replica."""
        before = gate.chats_of(model)
        for _ in range(CALLS // 2):
            assert ask(client, model, extra_headers=NO_FALLBACK)[0] == ANSWER
        return gate.chats_of(model) == before


@pytest.fixture(scope="module")
def full(client: OpenAI, second: str) -> FineTuningJob:
    """Of all weights, which neither replica takes."""
    training = {"training": {"type": "full"}}
    job = ended(client, start_job(client, examples(24), n_epochs=4, extra_body=training).id)
    assert job.status == "succeeded", job.error
    return job


@pytest.fixture(scope="module")
def advice(client: OpenAI, full: FineTuningJob) -> str:
    [told] = [event.message for event in client.fine_tuning.jobs.list_events(full.id, limit=10)
              if event.level == "warn" and "does not serve these weights" in event.message]  # fmt: skip
    return told


class TestWeightsOfTheirOwn:
    """vLLM serves one base: a model of all weights needs a vLLM of its own."""

    def test_succeed_with_a_reason_and_a_way_out(self, advice: str, full: FineTuningJob):
        assert "under [[upstreams]]" in advice
        assert f"GET /v1/models/{full.fine_tuned_model}/export" in advice


class TestAfterKill9:
    """Of `tuneway serve`; then a start without an engine of its own."""

    def test_weights_of_their_own_are_served_by_the_command_that_was_named(
        self, stack: DemoStack, key: Key, advice: str, full: FineTuningJob, directory: Path
    ):
        """To their project alone. Nothing is left of the stack that was killed."""
        command = shlex.split(re.search(r"\(python -m (.*?)\)", advice)[1])  # type: ignore[index]
        other = stack.make_key("rival", "web")
        processes = stack.kill()
        environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}
        with serving(*command, "--dtype", "float32", log=directory / "own.log", **environment) as own:
            name = str(full.fine_tuned_model)
            again = DemoStack(directory, config=WITHOUT_AN_ENGINE.format(own=own, model=name), engine="none")
            again.admin_key = stack.admin_key
            with running(again):
                assert [each for each in processes if not is_gone(each)] == []
                with connect(again, key) as owner:
                    answer, headers = ask(owner, name)
                with connect(again, other) as stranger, pytest.raises(NotFoundError):
                    ask(stranger, name)
        assert headers["x-tuneway-model"] == name
        assert answer
