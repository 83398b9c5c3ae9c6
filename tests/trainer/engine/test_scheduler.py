"""Who runs, who waits, who leaves. A gate in front of the model lets the tests say when it may take a step."""

import http.client
import json
from concurrent.futures import Future
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.trainer.engine.wire import PATIENCE, RawStream, ask, until

pytestmark = pytest.mark.train


class TestWaiting:
    def test_requests_beyond_the_limit_wait_in_order(self, two_at_once, gate, client, pool):
        gate.close()
        scheduler, ended, asked = two_at_once.engine.scheduler, [], []
        for name in range(5):
            before = scheduler.running + scheduler.waiting
            answer: Future[str] = pool.submit(ask, client, 200)
            answer.add_done_callback(lambda _, name=name: ended.append(name))
            asked.append(answer)
            until(lambda before=before: scheduler.running + scheduler.waiting == before + 1, gate)
        assert (scheduler.running, scheduler.waiting) == (2, 3)
        gate.open()
        assert len({answer.result(PATIENCE) for answer in asked}) == 1
        assert set(ended[:2]) == {0, 1}
        assert ended[4] in (3, 4)

    def test_more_choices_than_places_are_written_alone(self, two_at_once, gate, client):
        assert ask(client, 3, n=5) == ask(client, 3)

    def test_a_short_answer_does_not_wait_for_a_long_one(self, two_at_once, gate, client, pool):
        gate.close()
        long = pool.submit(ask, client, 200)
        gate.allow(3)
        short = pool.submit(ask, client, 3)
        until(short.done, gate)
        assert not long.done()
        gate.open()
        assert long.result(PATIENCE)

    def test_health_answers_while_the_model_is_busy(self, two_at_once, gate, client, pool):
        gate.close()
        answer = pool.submit(ask, client, 3)
        until(lambda: two_at_once.engine.scheduler.running == 1)
        connection = http.client.HTTPConnection(two_at_once.url.removeprefix("http://"), timeout=PATIENCE)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()
        gate.open()
        assert answer.result(PATIENCE)


class TestLeaving:
    @pytest.mark.parametrize("streamed", [True, False], ids=["streaming", "whole"])
    def test_a_client_that_leaves_frees_its_places(self, two_at_once, gate, client, pool, streamed):
        scheduler = two_at_once.engine.scheduler
        gate.close()
        leaver = RawStream(two_at_once.url, tokens=200, n=2, stream=streamed)
        if streamed:
            gate.allow(10)
            leaver.start()
        until(lambda: scheduler.running == 2)
        waiting = pool.submit(ask, client, 5)
        until(lambda: scheduler.waiting == 1, gate)
        if streamed:
            leaver.leave()
        else:
            leaver._connection.close()
        before = gate.steps
        until(waiting.done, gate)
        assert waiting.result()
        assert gate.steps - before < 100
        until(lambda: scheduler.running == 0)

    def test_one_that_leaves_the_line_is_never_read(self, two_at_once, gate, client, pool):
        scheduler = two_at_once.engine.scheduler
        gate.close()
        running = [pool.submit(ask, client, 200) for _ in range(2)]
        until(lambda: scheduler.running == 2, gate)
        leaver = RawStream(two_at_once.url)
        until(lambda: scheduler.waiting == 1, gate)
        leaver._connection.close()
        until(lambda: scheduler.waiting == 0, gate)
        assert scheduler.running == 2
        read = scheduler.prompt_tokens
        gate.open()
        assert all(answer.result(PATIENCE) for answer in running)
        until(lambda: scheduler.running == 0)
        assert scheduler.prompt_tokens == read

    def test_the_others_do_not_notice(self, two_at_once, gate, client, pool):
        expected = ask(client, 60)
        gate.close()
        leaver = RawStream(two_at_once.url, prompt="the sky says one two three")
        stayer = pool.submit(ask, client, 60)
        gate.allow(20)
        leaver.start().leave()
        gate.open()
        assert stayer.result(PATIENCE) == expected


class TestTogether:
    def test_greedy_answers_are_those_of_each_alone(self, served, pool):
        with OpenAI(base_url=f"{served.url}/v1", api_key="none", timeout=PATIENCE) as client:
            prompts = [("hello " * length).strip() for length in range(1, 40, 2)]
            alone = [ask(client, 40, prompt=prompt) for prompt in prompts]
            together = list(pool.map(lambda prompt: ask(client, 40, prompt=prompt), prompts))
        assert together == alone

    def test_seeded_answers_do_not_depend_on_the_others(self, served, pool):
        with OpenAI(base_url=f"{served.url}/v1", api_key="none", timeout=PATIENCE) as client:
            fields: Any = {"temperature": 1, "top_p": 0.9}
            alone = [ask(client, 40, seed=seed, **fields) for seed in range(12)]
            together = list(pool.map(lambda seed: ask(client, 40, seed=seed, **fields), range(12)))
        assert len(set(alone)) == 12
        assert together == alone


class TestFailing:
    def test_before_the_first_token_it_is_an_http_error(self, two_at_once, gate, client):
        gate.fail()
        with pytest.raises(openai.InternalServerError) as caught:
            client.completions.create(model="nano", prompt="hello", stream=True)
        assert caught.value.body["message"] == "The engine failed to answer: no memory left"
        assert ask(client, 3)

    def test_where_one_joins_the_others_fail_too(self, two_at_once, gate, client, pool, monkeypatch):
        """No memory in the middle of it leaves rows that are moved in a part of the layers."""
        gate.close()
        other = RawStream(two_at_once.url)
        gate.allow(10)
        other.start()

        def half(*_: Any) -> None:
            raise MemoryError("no memory left")

        with monkeypatch.context() as patch:
            patch.setattr("trainer.engine.batch.Batch.join", half)
            joining = pool.submit(ask, client, 3)
            gate.open()
            with pytest.raises(openai.InternalServerError):
                joining.result(PATIENCE)
            assert b"server_error" in other.rest()
        assert ask(client, 3)

    def test_after_it_it_is_a_frame(self, two_at_once, gate, client):
        gate.close()
        stream = RawStream(two_at_once.url)
        gate.allow(10)
        stream.start()
        gate.fail()
        gate.open()
        *_, last, empty = stream.rest().split(b"\n\n")
        assert empty == b""
        assert json.loads(last.strip().removeprefix(b"data: "))["error"]["type"] == "server_error"
        assert ask(client, 3)
