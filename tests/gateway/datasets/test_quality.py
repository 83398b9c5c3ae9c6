"""What is gathered about good examples, and what is said about it."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.datasets import findings, tokens
from gateway.datasets.findings import score_of, suggested_split
from gateway.datasets.tokens import MESSAGE_TOKENS, TokenCounter
from gateway.protocol.datasets import Finding, SuggestedSplit
from tests.gateway.datasets.files import chat, finding, jsonl, pair, report, spelt, varied

STARTER = Path(tokens.__file__).parents[2] / "trainer" / "starter" / "model"
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def codes(*values: Any, **options: Any) -> dict[str, str]:
    """Code -> level of everything found."""
    return {each.code: each.level for each in report(jsonl(*values), **options).findings}


def mixed(count: int, *odd: Any) -> list[Any]:
    """`odd` among `count` good examples."""
    return [*odd, *varied(count - len(odd))]


class TestFindings:
    def test_good_file_has_none(self) -> None:
        found = report(jsonl(*varied(120)))
        assert (found.findings, found.score) == ([], 100)

    def test_sizes(self) -> None:
        assert codes(*varied(9)) == {"few_examples": "error"}
        assert codes(*varied(99)) == {"few_examples": "warn"}
        assert codes(*varied(100)) == {}

    def test_more_than_a_million(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(findings, "MANY", 150)
        assert codes(*varied(150)) == {}
        assert codes(*varied(151)) == {"many_examples": "info"}

    def test_bad_lines(self) -> None:
        found = report(jsonl(*varied(110), {"x": 1}, [1]))
        bad = finding(found, "bad_examples")
        assert bad is not None
        assert (bad.level, bad.count, bad.share, bad.lines) == ("error", 2, 0.0179, [111, 112])
        assert found.score == 79

    def test_missing_values_above_five_percent(self) -> None:
        odd = [chat("", spelt(number)) for number in range(1000, 1003)] + [
            chat(spelt(number), " \n") for number in range(3)
        ]
        assert codes(*mixed(119, *odd)) == {"missing_values": "warn"}
        assert codes(*mixed(120, *odd)) == {"missing_values": "info"}

    def test_duplicates_above_two_percent(self) -> None:
        found = report(jsonl(*varied(97), *varied(3)))
        again = finding(found, "duplicates")
        assert again is not None
        assert (again.level, again.count, again.lines, found.duplicates) == ("warn", 3, [98, 99, 100], 3)
        assert codes(*varied(98), *varied(2))["duplicates"] == "info"

    def test_same_content_written_otherwise_is_a_duplicate(self) -> None:
        compact = json.dumps(chat(), separators=(",", ":")).encode() + b"\n"
        assert report(jsonl(chat()) + compact).duplicates == 1

    def test_answers_that_repeat_with_other_numbers(self) -> None:
        values = [chat(f"{spelt(number)}?", f"Your parcel number {number} is on its way!") for number in range(20)]
        found = report(jsonl(*values, *varied(100)))
        near = finding(found, "repeated_answers")
        assert near is not None
        assert (near.level, near.count, found.repeated_answers, found.duplicates) == ("warn", 19, 19, 0)

    def test_short_answers_may_repeat(self) -> None:
        assert "repeated_answers" not in codes(*(chat(spelt(number) * 3, "yes") for number in range(100)))

    def test_length_imbalance(self) -> None:
        assert "length_imbalance" in codes(*(chat(spelt(number), "word " * 200) for number in range(100)))
        assert "length_imbalance" in codes(
            *(chat(spelt(number) + "word " * 200, spelt(number)) for number in range(100))
        )
        assert "length_imbalance" not in codes(
            *(chat(spelt(number) + " word" * 50, "word " * 200) for number in range(100))
        )

    def test_short_inputs_and_long_answers(self) -> None:
        assert "short_inputs" in codes(*(chat(str(number), spelt(number)) for number in range(100)))
        assert "long_outputs" in codes(*(chat("q " * 500, f"{number} " + "word " * 900) for number in range(100)))
        assert "long_outputs" not in codes(*(chat("q " * 500, f"{number} " + "word " * 700) for number in range(100)))

    @pytest.mark.parametrize(
        "text", ["th\u00c3\u00a9", "it\u00e2\u20ac\u2122s", "\ufffd", "a\u0000b", "a\u001bb", "\u00c2\u00a0x"]
    )
    def test_encoding_trouble(self, text: str) -> None:
        assert codes(*mixed(100, chat(text))) == {"encoding": "info"}
        assert codes(*mixed(100, chat(text), chat("q", text))) == {
            "encoding": "warn",
        }

    @pytest.mark.parametrize("text", ["thé ÃO", "naïve", "日本", "100 €, “so”", "tab\tline\n", "Â is a letter"])
    def test_other_letters_are_no_trouble(self, text: str) -> None:
        assert codes(*mixed(100, chat(text), chat("q", text))) == {}

    def test_answers_in_another_script(self) -> None:
        foreign = [chat(f"Where is my parcel {number}?", "Ваша посылка уже в пути") for number in range(3)]
        assert codes(*mixed(100, *foreign)) == {"language_mismatch": "warn"}
        assert codes(*mixed(400, *foreign)) == {}
        task = [
            chat(f"Translate this into Russian, please: {spelt(number)}", f"Это число {'один два ' * number}")
            for number in range(1, 101)
        ]
        assert codes(*task)["language_mismatch"] == "info"

    def test_conversation_shapes(self) -> None:
        user, answer = chat()["messages"]
        calls = {"role": "assistant", "tool_calls": [CALL]}
        no_user = {"messages": [answer]}
        trailing = {"messages": [user, answer, user]}
        unanswered = {"messages": [user, calls, user, answer]}
        at_the_end = {"messages": [user, calls]}
        assert codes(*mixed(100, no_user)) == {"no_user": "warn"}
        assert codes(*mixed(100, trailing)) == {"trailing": "info"}
        assert codes(*mixed(100, unanswered)) == {"unanswered_calls": "warn"}
        assert codes(*mixed(100, at_the_end)) == {}

    def test_pairs_with_nothing_to_prefer(self) -> None:
        values = [
            pair(
                f"Where is the parcel with the number {number}, please?",
                f"{spelt(number)} is here",
                f"{spelt(number)} is not here",
            )
            for number in range(100)
        ]
        assert codes(*values, method="dpo") == {}
        assert codes(*values, pair("q", "same", "same"), method="dpo") == {"same_answers": "warn"}

    def test_worst_first_and_never_below_zero(self) -> None:
        found = report(jsonl(chat("", ""), chat("", ""), {"x": 1}))
        assert [each.level for each in found.findings] == sorted(
            (each.level for each in found.findings), key=["error", "warn", "info"].index
        )
        worst = Finding(code="few_examples", level="error", message="", suggestion="", count=1, share=1.0)
        assert score_of([worst] * 3) == 0

    def test_split(self) -> None:
        assert suggested_split(999) == SuggestedSplit(training=799, validation=200)
        assert suggested_split(12) == SuggestedSplit(training=10, validation=2)
        assert suggested_split(10) is None
        assert suggested_split(0) is None


class TestCounts:
    def test_roles_and_tools(self) -> None:
        tool = {"type": "function", "function": {"name": "f"}}
        found = report(jsonl(chat(), chat(tools=[tool]), chat(functions=[{"name": "f"}])))
        assert found.roles == {"user": 3, "assistant": 3}
        assert found.with_tools == 2

    def test_answers_with_weight_zero_are_given(self) -> None:
        user, answer = chat("q" * 400, "a" * 400)["messages"]
        found = report(jsonl({"messages": [user, {**answer, "weight": 0}, user, {**answer, "content": "b" * 40}]}))
        assert (found.tokens.mean_input, found.tokens.mean_output) == (300, 10)


class TestTokens:
    def test_without_a_tokenizer_four_characters_make_one(self) -> None:
        found = report(jsonl(chat("q" * 400, "a" * 40))).tokens
        assert (found.source, found.total) == ("estimated", 110 + 2 * MESSAGE_TOKENS)
        assert (found.mean_input, found.mean_output, found.context_length) == (100, 10, None)
        assert found.longest == 118

    def test_with_the_models_own_tokenizer_all_of_a_small_file_is_counted(self) -> None:
        counter = TokenCounter(STARTER)
        found = report(jsonl(*varied(50)), counter=counter).tokens
        assert found.source == "counted"
        texts = [message["content"] for each in varied(50) for message in each["messages"]]
        assert found.total == sum(counter.count(texts)) + 100 * MESSAGE_TOKENS
        assert found.context_length == json.loads((STARTER / "config.json").read_text())["max_position_embeddings"]
        assert sum(bucket.examples for bucket in found.histogram) == 50

    def test_a_sample_of_a_larger_file_comes_close(self, monkeypatch: pytest.MonkeyPatch) -> None:
        counter, content = TokenCounter(STARTER), jsonl(*varied(500))
        exact = report(content, counter=counter).tokens
        monkeypatch.setattr(tokens, "SAMPLE_EXAMPLES", 40)
        sampled = report(content, counter=counter).tokens
        assert (exact.source, sampled.source) == ("counted", "sampled")
        assert sampled.total == pytest.approx(exact.total, rel=0.02)
        assert sampled.median == pytest.approx(exact.median, rel=0.1)

    def test_sample_is_bounded_in_characters_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tokens, "SAMPLE_CHARACTERS", 5000)
        sample = tokens.Sample()
        for number in range(100):
            sample.add("q" * 100, f"{number}", 2)
        assert 0 < sum(len(each.given) for each in sample.examples) <= 5000
        assert not sample.is_whole

    @pytest.mark.parametrize("counter", [None, TokenCounter(STARTER)])
    def test_only_one_answer_of_a_pair_is_read_at_a_time(self, counter: TokenCounter | None) -> None:
        content = jsonl(*[pair("word " * 50, "word " * 200, "word " * 150)] * 3)
        found = report(content, "dpo", counter=counter, context_length=400).tokens
        assert found.over_long == 0
        assert found.longest < 400 < found.mean_input + found.mean_output

    def test_definitions_of_tools_are_read_too(self) -> None:
        tool = {"type": "function", "function": {"name": "f", "description": "word " * 400}}
        assert report(jsonl(chat(tools=[tool]))).tokens.total > 500 > report(jsonl(chat())).tokens.total

    def test_over_long_examples_are_named(self) -> None:
        values = varied(110)
        values[7], values[30] = chat("q" * 4000, spelt(7)), chat("q" * 8000, spelt(30))
        found = report(jsonl(*values), context_length=500)
        long = finding(found, "over_long")
        assert long is not None
        assert (long.count, long.lines, found.tokens.over_long) == (2, [31, 8], 2)
        assert finding(report(jsonl(*values), context_length=5000), "over_long") is None

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"max_position_embeddings": "x"}'])
    def test_directory_without_a_usable_model_is_an_estimate(self, tmp_path: Path, content: str) -> None:
        for name in ("tokenizer.json", "config.json"):
            (tmp_path / name).write_text(content)
        counter = TokenCounter(tmp_path)
        assert (counter.is_real, counter.context_length) == (False, None)
        assert TokenCounter(tmp_path / "nowhere").count(["12345678"]) == [2]

    def test_context_of_a_model_with_a_text_part(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"text_config": {"max_position_embeddings": 77}}')
        assert TokenCounter(tmp_path).context_length == 77
