"""Rules together."""

import msgspec
import pytest

from judges.rules.behaviour import PersonalData, Secrets
from judges.rules.formats import Json, JsonSchema, Regex
from judges.rules.run import check, overall
from judges.rules.tools import ToolCalls
from judges.rules.written import AnyRule, decode, problems, type_of
from tests.judges.rules.subjects import answered


class TestDecode:
    def test_type_says_which(self) -> None:
        rules = decode(b'[{"type": "json"}, {"type": "regex", "pattern": "x", "must": "not_match"}]')
        assert rules == [Json(), Regex(pattern="x", must="not_match")]
        assert [type_of(rule) for rule in rules] == ["json", "regex"]

    @pytest.mark.parametrize(
        ("body", "path"),
        [
            (b'[{"type": "jsn"}]', r"\$\[0\].type"),
            (b'[{"type": "json", "fence": true}]', "fence"),
            (b'[{"type": "regex"}]', "pattern"),
            (b'[{"type": "personal_data", "kinds": ["nose"]}]', "nose"),
        ],
    )
    def test_a_typo_is_named(self, body: bytes, path: str) -> None:
        with pytest.raises(msgspec.ValidationError, match=path):
            decode(body)

    def test_every_rule_has_a_type_of_its_own(self) -> None:
        types = [type_of(kind) for kind in AnyRule.__args__]  # type: ignore[arg-type, attr-defined]
        assert len(set(types)) == len(types)
        assert len(types) >= 14


class TestCheck:
    def test_each_has_its_own_verdict_and_an_error_is_no_score(self) -> None:
        verdicts = check([Json(), JsonSchema(), Regex(pattern="x")], answered("x"))
        assert [(each.rule, each.passed, each.score) for each in verdicts] == [
            ("json", False, 0.0),
            ("json_schema", None, None),
            ("regex", True, 1.0),
        ]
        assert verdicts[1].failed

    def test_a_fault_of_one_leaves_the_verdicts_of_the_others(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What an answer breaks a rule with must not switch off the rest of a check."""

        def fail(*_: object) -> None:
            raise OverflowError("too large")

        monkeypatch.setattr(Json, "check", fail)
        secret = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
        verdicts = check([Json(), Secrets(), Regex(pattern="x")], answered(f"x {secret}"))
        assert [(each.rule, each.passed) for each in verdicts] == [("json", None), ("secrets", False), ("regex", True)]
        assert verdicts[0].rationale == "It could not be applied to this answer (OverflowError)."
        assert overall(verdicts).passed is False
        assert "too large" in caplog.text

    @pytest.mark.parametrize("calls", [["x"], {"a": 1}, [{"function": None}], "x", [None], [{"type": ["a"]}]], ids=str)
    def test_tool_calls_that_are_none_are_applied_to(self, calls: object) -> None:
        verdicts = check([Secrets(), PersonalData(), ToolCalls()], answered("x", tool_calls=calls))
        assert [each.passed for each in verdicts] == [True, True, False]

    def test_overall_passes_when_all_pass(self) -> None:
        passed = overall(check([Json(), Regex(pattern="1")], answered("1")))
        assert (passed.passed, passed.score, passed.rationale) == (True, 1.0, "All rules are kept.")

    def test_overall_fails_with_one_and_says_which(self) -> None:
        failed = overall(check([Json(), Regex(pattern="x")], answered("x")))
        assert (failed.passed, failed.score) == (False, 0.5)
        assert failed.rationale.startswith("json: The answer is no JSON")

    def test_overall_is_unknown_when_one_could_not_be_applied(self) -> None:
        unknown = overall(check([JsonSchema(), Regex(pattern="x")], answered("x")))
        assert (unknown.passed, unknown.score) == (None, 1.0)
        nothing = overall(check([JsonSchema()], answered("x")))
        assert (nothing.passed, nothing.score) == (None, None)


class TestProblems:
    def test_name_their_path(self) -> None:
        assert [path for path, _ in problems([Json(), Regex(pattern="(")])] == ["rules[1].pattern"]

    def test_no_rules_and_too_many(self) -> None:
        assert problems([])[0][0] == "rules"
        assert problems([Json()] * 31)[0][0] == "rules"
        assert problems([Json()] * 30) == []
