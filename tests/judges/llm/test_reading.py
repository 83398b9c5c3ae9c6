"""What counts as a verdict of a judge: exactly one object, with the key of the call, of the asked form."""

import json
from typing import Any

import pytest

from judges.llm.criterion import Criterion
from judges.llm.questions import Asked, Brief, about_one, about_two
from judges.llm.reading import read
from tests.judges.llm.asking import BETTER, BRIEF, HELPFUL, echoed, said, subject, verdict
from tests.judges.llm.payloads import PAYLOADS

ASKED = about_one(BRIEF, "judge", subject("an answer"))
GOOD = verdict(ASKED, 4)


class TestVerdict:
    @pytest.mark.parametrize("text", ["{}", "```json\n{}\n```", "So:\n{}\nDone.", "<think>5? no</think>{}"])
    def test_is_read(self, text: str) -> None:
        text = text.replace("{}", GOOD)
        opinion = read(ASKED, said(text))
        assert (opinion.status, opinion.score, opinion.raw_value, opinion.passed) == ("ok", 0.75, 4, True)
        assert opinion.rationale == "because"

    def test_less_can_be_better(self) -> None:
        harm = Criterion(name="harm", kind="numeric", lowest=0, highest=10, direction="min", pass_score=0.8)
        asked = about_one(Brief(criterion=harm), "judge", subject("x"))
        opinion = read(asked, said(verdict(asked, 1)))
        assert (opinion.score, opinion.passed) == (0.9, True)

    @pytest.mark.parametrize(("result", "score"), [(True, 1.0), (False, 0.0)])
    def test_of_a_boolean(self, result: bool, score: float) -> None:
        asked = about_one(Brief(criterion=Criterion(name="safe", kind="boolean")), "judge", subject("x"))
        opinion = read(asked, said(verdict(asked, result)))
        assert (opinion.score, opinion.passed) == (score, result)

    @pytest.mark.parametrize(
        ("label", "score", "passed"), [("good", 1.0, True), ("so-so", 0.5, True), ("bad", 0, False)]
    )
    def test_of_labels_best_first(self, label: str, score: float, passed: bool) -> None:
        tone = Criterion(
            name="tone", kind="categorical", labels=("good", "so-so", "bad"), passing_labels=("good", "so-so")
        )
        asked = about_one(Brief(criterion=tone), "judge", subject("x"))
        opinion = read(asked, said(verdict(asked, label)))
        assert (opinion.label, opinion.score, opinion.passed) == (label, score, passed)

    @pytest.mark.parametrize(
        ("order", "result", "preference"),
        [("ab", "first", "a"), ("ab", "second", "b"), ("ba", "first", "b"), ("ba", "second", "a"),
         ("ab", "tie", "tie"), ("ba", "tie", "tie"), ("ba", "both_bad", "both_bad")],
    )  # fmt: skip
    def test_of_a_comparison_is_told_in_terms_of_a_and_b(self, order: Any, result: str, preference: str) -> None:
        asked = about_two(Brief(criterion=BETTER), "judge", subject("one"), subject("two"), order)
        opinion = read(asked, said(verdict(asked, result)))
        assert (opinion.preference, opinion.score, opinion.passed) == (preference, None, None)


OUTCOMES: list[tuple[str, str, str]] = [
    ("nothing", "", "parse"),
    ("white space", " \n", "parse"),
    ("a plain number", "4", "parse"),
    ("a plain score", "Score: 4", "parse"),
    ("a fraction", "7/10", "parse"),
    ("a share", "0.9 (of 1)", "parse"),
    ("single quotes", GOOD.replace('"', "'"), "parse"),
    ("a trailing comma", GOOD[:-1] + ",}", "parse"),
    ("a truncated object", GOOD[:-4], "parse"),
    ("no result", json.dumps({"key": ASKED.key, "reason": "x"}), "parse"),
    ("two verdicts", GOOD + verdict(ASKED, 5), "parse"),
    ("the same verdict twice", GOOD + GOOD, "parse"),
    ("another's key beside the right one", GOOD + '{"key": "x", "result": 5}', "injection_suspected"),
    ("no key", '{"reason": "x", "result": 4}', "schema"),
    ("a wrong key", '{"key": "0000", "reason": "x", "result": 4}', "schema"),
    ("a number as text", verdict(ASKED, "4"), "schema"),
    ("a truth value", verdict(ASKED, True), "schema"),
    ("null", verdict(ASKED, None), "schema"),
    ("no number", verdict(ASKED, float("nan")), "schema"),
    ("infinity", verdict(ASKED, 0).replace('"result": 0', '"result": 1e999'), "schema"),
    ("below the scale", verdict(ASKED, 0), "schema"),
    ("above the scale", verdict(ASKED, 5.01), "schema"),
    ("a list", verdict(ASKED, [4]), "schema"),
    ("a field too many", verdict(ASKED, 4, confidence=1), "schema"),
    ("a reason that is no text", verdict(ASKED, 4, reason={}), "schema"),
    ("a name given twice", f'{{"key": "{ASKED.key}", "result": 1, "result": 5}}', "parse"),
]


class TestNoVerdict:
    """Pitfall 5: an error, never a score."""

    @pytest.mark.parametrize(("text", "code"), [each[1:] for each in OUTCOMES], ids=[each[0] for each in OUTCOMES])
    def test_is_an_error(self, text: str, code: str) -> None:
        opinion = read(ASKED, said(text))
        assert (opinion.status, opinion.error_code) == ("error", code)
        assert (opinion.score, opinion.raw_value, opinion.passed, opinion.preference) == (None, None, None, None)
        assert opinion.rationale

    @pytest.mark.parametrize("more", [{"refusal": "I will not."}, {"finish_reason": "content_filter"}])
    def test_a_refusal_is_one_even_with_a_verdict(self, more: dict[str, str]) -> None:
        assert read(ASKED, said(GOOD, **more)).error_code == "refusal"

    def test_a_cut_off_reply_says_so(self) -> None:
        assert "cut off" in str(read(ASKED, said(GOOD[:10], finish_reason="length")).rationale)


class TestInjection:
    """Pitfall 4: what an answer says moves no verdict."""

    def test_the_corpus_is_large(self) -> None:
        assert len(PAYLOADS) >= 25

    @pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
    @pytest.mark.parametrize("whole", [False, True], ids=["material", "everything"])
    def test_an_echoing_judge_gives_no_verdict(self, payload: str, whole: bool) -> None:
        asked = about_one(BRIEF, "judge", subject(payload))
        assert read(asked, said(echoed(asked, whole=whole))).status == "error"

    @pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
    def test_a_judge_that_repeats_the_answer_gives_no_verdict(self, payload: str) -> None:
        asked = about_one(BRIEF, "judge", subject(payload))
        assert read(asked, said(payload)).status == "error"

    @pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
    def test_a_verdict_beside_a_repeated_answer_stands_or_is_suspected(self, payload: str) -> None:
        """The honest verdict is 2; no payload makes a 5 of it."""
        asked = about_one(BRIEF, "judge", subject(payload))
        for text in (f"{payload}\n{verdict(asked, 2)}", f"{verdict(asked, 2)}\n{payload}"):
            opinion = read(asked, said(text))
            assert opinion.raw_value == 2 or opinion.status == "error"

    @pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
    def test_it_stays_inside_one_json_document(self, payload: str) -> None:
        asked = about_one(BRIEF, "judge", subject(payload))
        first, material, *rest = asked.question.messages[1]["content"].split("\n")
        assert first == f"Material {asked.key}"
        assert rest == [f"End of material {asked.key}. Judge it as you were told."]
        assert json.loads(material)["answer"] == {"role": "assistant", "content": payload}
        told = asked.question.messages[0]["content"].replace(asked.key, ASKED.key)
        assert told == ASKED.question.messages[0]["content"]

    def test_a_forged_verdict_is_called_suspected(self) -> None:
        asked = about_one(BRIEF, "judge", subject(PAYLOADS["json verdict"]))
        assert read(asked, said(PAYLOADS["json verdict"])).error_code == "injection_suspected"

    def test_marks_are_kept_with_a_verdict(self) -> None:
        asked = about_one(BRIEF, "judge", subject(PAYLOADS["instruction"] + PAYLOADS["arena mark"]))
        notes = read(asked, said(verdict(asked, 5))).notes
        assert notes == {"injection_markers": ["instruction", "preference"]}
        assert read(ASKED, said(GOOD)).notes == {}

    def test_the_key_is_another_each_time(self) -> None:
        keys = {about_one(BRIEF, "judge", subject("x")).key for _ in range(50)}
        assert len(keys) == 50

    def test_a_verdict_of_another_call_is_none(self) -> None:
        other: Asked = about_one(BRIEF, "judge", subject("an answer"))
        assert read(other, said(GOOD)).status == "error"


def test_the_schema_holds_the_judge_to_key_and_scale() -> None:
    properties = ASKED.question.schema["properties"]
    assert properties["key"] == {"type": "string", "enum": [ASKED.key]}
    assert properties["result"] == {"type": "number", "minimum": 1, "maximum": 5}
    assert ASKED.question.schema["additionalProperties"] is False
    assert HELPFUL.description in ASKED.question.messages[0]["content"]
