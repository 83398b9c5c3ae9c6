"""Log-probabilities of a prompt: what the trainer measured beside an adapter is what vLLM and the embedded engine say, and
the two engines answer alike in every other part."""

from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("torch")

from transformers import AutoTokenizer

from tests.vllm.servers import MODEL, post
from trainer.contract import PROBE, Probe, decode_probe
from trainer.starter import STARTER

pytestmark = [pytest.mark.vllm, pytest.mark.train, pytest.mark.slow]

AGREE = 1e-3
"""Nats: both compute in float32, in another order."""

Entries = list[dict[str, dict[str, Any]] | None]


@pytest.fixture(scope="module")
def probe(adapter: Path) -> Probe:
    return decode_probe((adapter / PROBE).read_bytes())


@pytest.fixture(params=["vllm", "embedded"])
def url(request: pytest.FixtureRequest, servers: tuple[str, str]) -> str:
    return servers[request.param == "embedded"]


def scored(url: str, model: str, prompt: Any, top: int = 0) -> Entries:
    fields = {"max_tokens": 1, "temperature": 0, "prompt_logprobs": top}
    (choice,) = post(url, "/v1/completions", model=model, prompt=prompt, **fields).json()["choices"]
    return choice["prompt_logprobs"]


def answered(url: str, model: str, probe: Probe) -> list[float]:
    """What the probe has, from an engine."""
    entries = scored(url, model, probe.token_ids)
    assert len(entries) == len(probe.token_ids)
    pairs = zip(probe.token_ids[probe.first :], entries[probe.first :], strict=True)
    return [entry[str(token)]["logprob"] for token, entry in pairs if entry]


class TestProbe:
    def test_is_what_the_adapter_says(self, url: str, probe: Probe) -> None:
        assert answered(url, "colours", probe) == pytest.approx(probe.logprobs, abs=AGREE)

    def test_is_what_the_base_says(self, url: str, probe: Probe) -> None:
        assert probe.base_logprobs is not None
        assert answered(url, MODEL, probe) == pytest.approx(probe.base_logprobs, abs=AGREE)

    def test_tells_them_apart(self, probe: Probe) -> None:
        assert probe.base_logprobs is not None
        apart = [abs(one - other) for one, other in zip(probe.logprobs, probe.base_logprobs, strict=True)]
        assert max(apart) > 1000 * AGREE


LONG = "The colour of the sky is blue. What is 2 + 2? " * 12
"""More than one piece of what the embedded engine reads at once."""
PROMPTS = {
    "text": "what is the colour of sky?",
    "special tokens": "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n",
    "characters in parts": "é 🚀 𝄞 日本語 naïve €",
    "long": LONG,
}


class TestShape:
    @pytest.mark.parametrize("top", [0, 1, 20])
    @pytest.mark.parametrize("model", [MODEL, "colours"])
    @pytest.mark.parametrize("name", PROMPTS)
    def test_is_vllms(self, servers: tuple[str, str], name: str, model: str, top: int) -> None:
        theirs, ours = (scored(url, model, PROMPTS[name], top) for url in servers)
        ids = AutoTokenizer.from_pretrained(STARTER)(PROMPTS[name]).input_ids
        assert len(theirs) == len(ours) == len(ids)
        assert theirs[0] is ours[0] is None
        for at, (their, our) in enumerate(zip(theirs[1:], ours[1:], strict=True), start=1):
            assert their is not None
            assert our is not None
            assert next(iter(their)) == next(iter(our)) == str(ids[at])
            check_alike(their, our, str(ids[at]))

    @pytest.mark.parametrize("wrong", [-2, 21, "x"])
    def test_of_a_refusal_is_an_error_object(self, servers: tuple[str, str], wrong: Any) -> None:
        for url in servers:
            body = {"model": MODEL, "prompt": "hello", "prompt_logprobs": wrong}
            reply = httpx.post(f"{url}/v1/completions", json=body, timeout=60)
            assert (reply.status_code, set(reply.json()["error"])) == (400, {"message", "type", "param", "code"})

    def test_of_a_stream_is_refused_by_both(self, servers: tuple[str, str]) -> None:
        for url in servers:
            body = {"model": MODEL, "prompt": "hello", "prompt_logprobs": 1, "stream": True}
            assert httpx.post(f"{url}/v1/completions", json=body, timeout=60).status_code == 400


def check_alike(their: dict[str, Any], our: dict[str, Any], token: str) -> None:
    """At one position. Tokens that are as probable as each other within rounding may stand in either order."""
    assert {name: type(value) for name, value in their[token].items()} == {
        name: type(value) for name, value in our[token].items()
    }
    ranked = [sorted(one["logprob"] for key, one in entry.items() if key != token) for entry in (their, our)]
    if len(their) == len(our):
        assert ranked[1] == pytest.approx(ranked[0], abs=AGREE)
    for key in their.keys() & our.keys():
        assert our[key]["logprob"] == pytest.approx(their[key]["logprob"], abs=AGREE)
        assert our[key]["decoded_token"] == their[key]["decoded_token"], key
        nearby = [one for one in our.values() if abs(one["logprob"] - our[key]["logprob"]) <= AGREE]
        assert abs(our[key]["rank"] - their[key]["rank"]) < max(len(nearby), 1) + our[key]["rank"] // 50
