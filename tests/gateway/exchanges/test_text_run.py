"""A stream whose events are not all taken apart becomes the same body as one whose events are."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from gateway.exchanges.assemble import assemble
from gateway.exchanges.text_run import LONGEST_BYTES, TextRun
from tests.gateway.exchanges.test_assemble import chunk, delta, stream

SAID = (
    "Hel",
    "lo",
    " ",
    "",
    'a "b"',
    "c:\\d",
    "two\nlines",
    "é€𝄞",
    "\u00a0",
    "\u2028",
    "}]",
    '{"delta": {"content": "x"}}',
    "\x7f",
)
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def read_one_by_one(events: bytes, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """As `assemble` does without any run."""
    with monkeypatch.context() as patched:
        patched.setattr(TextRun, "take", lambda self, line: False)
        return assemble(events)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Events that were not taken apart."""
    found: list[bytes] = []
    take = TextRun.take

    def noting(run: TextRun, line: bytes) -> bool:
        done = take(run, line)
        if done:
            found.append(line)
        return done

    monkeypatch.setattr(TextRun, "take", noting)
    return found


def texts(*said: str, **more: Any) -> list[dict[str, Any]]:
    return [chunk(delta(content=each), **more) for each in said]


class TestTake:
    def test_texts_are_not_taken_apart(self, taken: list[bytes]) -> None:
        whole = json.loads(assemble(stream(*texts("Hel", "lo ", "you"))))
        assert whole["choices"][0]["message"]["content"] == "Hello you"
        assert len(taken) == 2

    def test_nor_thoughts(self, taken: list[bytes]) -> None:
        said = [chunk(delta(reasoning_content=each)) for each in ("I ", "think")]
        whole = json.loads(assemble(stream(*said, *texts("so ", "what"))))
        message = whole["choices"][0]["message"]
        assert (message["reasoning_content"], message["content"]) == ("I think", "so what")
        assert len(taken) == 2

    def test_nor_texts_with_a_usage_so_far_whose_last_counts(self, taken: list[bytes]) -> None:
        said = [chunk(delta(content="a"), usage=USAGE | {"completion_tokens": number}) for number in range(4)]
        whole = json.loads(assemble(stream(*said)))
        assert whole["usage"]["completion_tokens"] == 3
        assert len(taken) == 3

    def test_a_usage_behind_it_counts_more(self) -> None:
        said = [chunk(delta(content="a"), usage=USAGE | {"completion_tokens": number}) for number in range(4)]
        assert json.loads(assemble(stream(*said, chunk(usage=USAGE))))["usage"] == USAGE

    def test_compact_ones_as_well(self, taken: list[bytes]) -> None:
        said = [json.dumps(each, separators=(",", ":")) for each in texts("a", "b", usage=USAGE)]
        whole = json.loads(assemble("\n\n".join(f"data: {each}" for each in said).encode()))
        assert (whole["choices"][0]["message"]["content"], whole["usage"]) == ("ab", USAGE)
        assert len(taken) == 1

    def test_a_long_event_is_read_by_itself(self, taken: list[bytes]) -> None:
        said = "\n" * LONGEST_BYTES
        whole = json.loads(assemble(stream(*texts(said, said, "end"))))
        assert whole["choices"][0]["message"]["content"] == said + said + "end"
        assert not taken


OTHERS: list[Callable[[str], Any]] = [
    lambda said: chunk(delta(content=said)),
    lambda said: chunk(delta(content=said), usage=USAGE),
    lambda said: chunk(delta(content=said), usage=USAGE | {"details": {"cached": 1}}),
    lambda said: chunk(delta(content=said), usage=None),
    lambda said: chunk(delta(content=said), obfuscation=said),
    lambda said: chunk(delta(content=said), model=said),
    lambda said: chunk(delta(1, content=said)),
    lambda said: chunk(delta(0, content=said), delta(1, content=said)),
    lambda said: chunk({"index": 1, "text": said}, delta(content=said)),
    lambda said: chunk(delta(content=said) | {"text": said}),
    lambda said: chunk(delta(reasoning_content=said)),
    lambda said: chunk(delta(refusal=said)),
    lambda said: chunk(delta(role="assistant", content=said)),
    lambda said: chunk(delta(content=said, finish_reason="length")),
    lambda said: chunk(delta(content=said) | {"logprobs": {"content": [{"token": said}]}}),
    lambda said: chunk(delta(content=[said])),
    lambda said: chunk(delta(content=None)),
    lambda said: chunk(delta(tool_calls=[{"index": 0, "function": {"arguments": said}}])),
    lambda said: chunk({"index": "x", "delta": {"content": said}}),
    lambda said: chunk({"index": 0, "other": {"delta": {"content": said}}}),
    lambda said: chunk({"index": 0, "message": {"delta": {"content": said}}, "delta": "x"}),
    lambda said: chunk({"index": 0, "before": {"delta": {"content": said}}, "delta": {"content": "lo"}}),
    lambda said: chunk(),
    lambda said: chunk(usage=USAGE),
    lambda said: chunk(said),
    lambda said: {"delta": {"content": said}},
    lambda said: [said],
]


class TestAgainstReadingEach:
    @pytest.mark.parametrize("seed", range(40))
    def test_mixed_events(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Mostly of one kind, as streams are, with others between."""
        chance = random.Random(seed)
        for _ in range(50):
            usual = chance.sample(OTHERS, 2)
            kinds = chance.choices([*usual, *OTHERS], [20, 20, *[1] * len(OTHERS)], k=30)
            ascii, marks = chance.random() < 0.5, chance.choice((None, (",", ":")))
            said = [kind(chance.choice(SAID)) for kind in kinds]
            lines = [f"data: {json.dumps(each, ensure_ascii=ascii, separators=marks)}" for each in said]
            events = chance.choice(("\n\n", "\r\n\r\n")).join(lines).encode()
            assert assemble(events) == read_one_by_one(events, monkeypatch)

    @pytest.mark.parametrize("seed", range(20))
    def test_damaged_events(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        chance = random.Random(seed)
        for _ in range(100):
            said = [chunk(delta(content=each), usage=USAGE) for each in chance.choices(SAID[:5], k=6)]
            events = bytearray(stream(*said))
            for _ in range(chance.randrange(1, 4)):
                at = chance.randrange(len(events))
                events[at : at + chance.randrange(3)] = chance.choice(
                    (b"", b'"', b"\\", b"}", b"\x00", b"\xff", b"\t", b"0", b"{", b",")
                )
            damaged = bytes(events)
            assert assemble(damaged) == read_one_by_one(damaged, monkeypatch)

    @pytest.mark.parametrize("number", ["01", "9" * 16, "9" * 17, "9" * 30, "9" * 5000, "-1", "1e999"])
    def test_strange_numbers(self, number: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """One that no decoder takes would keep the whole exchange out of the log."""
        events = stream(*texts("a", "b", usage=USAGE)).replace(
            b'"total_tokens": 3', b'"total_tokens": ' + number.encode()
        )
        behind = stream(*texts("c", usage=USAGE)) + b"\n\n" + events
        for each in (events, behind):
            assert assemble(each) == read_one_by_one(each, monkeypatch)

    def test_cut_anywhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        events = stream(*texts("Hel", "lo", 'a "b"', "c"), *texts("d", "e", usage=USAGE))
        for at in range(len(events)):
            assert assemble(events[:at]) == read_one_by_one(events[:at], monkeypatch)
