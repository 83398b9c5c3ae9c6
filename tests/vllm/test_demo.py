"""`make demo ARGS="--engine vllm"`: the whole story on real vLLM."""

import pytest

pytest.importorskip("torch")

from tests.deploy.demo.told import tell

pytestmark = [pytest.mark.vllm, pytest.mark.train, pytest.mark.slow]


def test_the_whole_story() -> None:
    tell("--engine", "vllm")
