"""Rules on the form of an answer."""

import pytest

from judges.rules.detection import told_apart
from judges.rules.formats import Json, JsonSchema, Language, Length, Regex
from judges.rules.languages import KNOWN
from judges.rules.rule import RuleFailed
from judges.rules.run import apply
from tests.judges.ending import at_most
from tests.judges.rules.subjects import answered

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}, "age": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}


class TestJson:
    @pytest.mark.parametrize("text", ['{"a": 1}', "[]", "3", ' "x"\n', "null"])
    def test_any_value_passes(self, text: str) -> None:
        assert Json().check(answered(text)).passed

    @pytest.mark.parametrize(
        "text",
        ["", "Sure: {}", '{"a": 1,}', "{'a': 1}", '{"a": NaN}', "[" * 100_000, '```json\n{"a": 1}\n```', '{"a": 1} {}'],
    )
    def test_what_is_none_fails(self, text: str) -> None:
        assert not Json().check(answered(text)).passed

    def test_a_fence_is_allowed_where_it_is_allowed(self) -> None:
        assert Json(fenced=True).check(answered('```json\n{"a": 1}\n```')).passed
        assert not Json(fenced=True).check(answered('Here:\n```json\n{"a": 1}\n```')).passed

    @pytest.mark.parametrize("text", ["```\n1\n```", "```json  \n\n 1```  ", "\n```JSON\n1\n\n```\n"])
    def test_a_fence_has_a_word_at_most(self, text: str) -> None:
        assert Json(fenced=True).check(answered(text)).passed
        assert not Json(fenced=True).check(answered(text.replace("\n", " and more\n"))).passed

    @pytest.mark.parametrize("text", ["```", "``````", "```1```", "```\n1", "1\n```", "```json1\n1\n```", "```\n``"])
    def test_what_is_no_fence_is_none(self, text: str) -> None:
        assert not Json(fenced=True).check(answered(text)).passed

    @pytest.mark.parametrize("text", ["```" + "\n" * 500_000, "```" + " \n" * 500_000, "```\n" + "`" * 500_000 + "x"])
    def test_a_fence_that_nothing_closes_ends_soon(self, text: str) -> None:
        with at_most(20):
            assert not Json(fenced=True).check(answered(text)).passed

    @pytest.mark.parametrize("text", ["1e999", "[-1e999]", '{"a": 1e400}'])
    def test_a_number_that_becomes_infinite_is_none(self, text: str) -> None:
        assert not Json().check(answered(text)).passed

    def test_an_object_may_be_wanted(self) -> None:
        assert not Json(object=True).check(answered("[1]")).passed
        assert Json(object=True).check(answered("{}")).passed


class TestJsonSchema:
    def test_says_where_it_does_not_fit(self) -> None:
        outcome = JsonSchema(schema=SCHEMA).check(answered('{"name": "Ann", "age": "x"}'))
        assert not outcome.passed
        assert outcome.rationale.startswith("At age: 'x' is not of type 'integer'")
        assert JsonSchema(schema=SCHEMA).check(answered('{"name": "Ann", "age": 3}')).passed

    def test_takes_the_schema_that_the_call_asked_for(self) -> None:
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
        assert JsonSchema().check(answered('{"name": "Ann"}', response_format=wanted)).passed
        assert not JsonSchema().check(answered('{"name": "ann"}', response_format=wanted)).passed

    def test_without_any_schema_it_cannot_be_applied(self) -> None:
        with pytest.raises(RuleFailed, match="asked for none"):
            JsonSchema().check(answered("{}"))

    def test_fetches_nothing(self) -> None:
        rule = JsonSchema(schema={"$ref": "http://127.0.0.1:9/schema.json"})
        with pytest.raises(RuleFailed, match="leads nowhere"):
            rule.check(answered("{}"))

    def test_a_pattern_that_never_ends_is_ended(self) -> None:
        rule = JsonSchema(schema={"type": "string", "pattern": "^(a+)+$|^(a|a)*b$"})
        with pytest.raises(RuleFailed, match="longer than"):
            rule.check(answered(f'"{"a" * 5000}!"'))

    @pytest.mark.parametrize(
        "more", [{}, {"additionalProperties": False}, {"additionalProperties": {"type": "string"}}]
    )
    def test_a_pattern_for_names_that_never_ends_is_ended(self, more: dict[str, object]) -> None:
        rule = JsonSchema(schema={"type": "object", "patternProperties": {"^(a+)+$|^(a|a)*b$": {}}} | more)
        with at_most(60), pytest.raises(RuleFailed, match="longer than"):
            rule.check(answered('{"' + "a" * 5000 + '!": 1}'))

    def test_patterns_for_names_are_held_against_each_name(self) -> None:
        schema = {"properties": {"id": {}}, "patternProperties": {"^n_": {"type": "integer"}, r"\d$": {"minimum": 3}}}
        closed = JsonSchema(schema=schema | {"additionalProperties": False})
        assert closed.check(answered('{"id": 1, "n_1": 3, "x1": "y"}')).passed
        assert closed.check(answered('{"n_1": 2}')).rationale.startswith("At n_1: 2 is less than the minimum")
        assert not closed.check(answered('{"n_a": "x"}')).passed
        assert "'other' was unexpected" in closed.check(answered('{"id": 1, "other": 2}')).rationale
        assert JsonSchema(schema=schema | {"additionalProperties": {"const": 2}}).check(answered('{"other": 2}')).passed
        assert (
            not JsonSchema(schema=schema | {"additionalProperties": {"const": 2}})
            .check(answered('{"other": 3}'))
            .passed
        )

    @pytest.mark.parametrize(
        ("number", "step", "fits"),
        [("1" + "0" * 320, 0.01, True), ("1" * 320, 7, False), ("4.35", 0.01, True), ("4.351", 0.01, False), ("6", 3, True),
         ("true", 3, True), ("1e300", 1e-9, True)],
    )  # fmt: skip
    def test_multiples_are_told_of_numbers_of_any_size(self, number: str, step: float, fits: bool) -> None:
        assert JsonSchema(schema={"multipleOf": step}).check(answered(number)).passed is fits

    @pytest.mark.parametrize(
        "schema", [{"$ref": "#/x/y", "x": [1]}, {"$ref": "#/x", "x": 3}, {"multipleOf": float("inf")}], ids=str
    )
    def test_a_schema_that_makes_no_sense_of_an_answer_cannot_be_applied(self, schema: dict[str, object]) -> None:
        with pytest.raises(RuleFailed):
            JsonSchema(schema=schema).check(answered("1"))

    @pytest.mark.parametrize("named", [5, [], {}, None, True])
    def test_a_dialect_that_is_no_text_is_a_problem(self, named: object) -> None:
        assert JsonSchema(schema={"$schema": named}).problems()[0].startswith("schema: $schema ")
        with pytest.raises(RuleFailed, match="the schema is none"):
            JsonSchema(schema={"$schema": named}).check(answered("1"))

    def test_a_schema_that_is_none_is_a_problem(self) -> None:
        assert JsonSchema(schema={"type": "thing"}).problems()[0].startswith("schema: type ")
        assert JsonSchema(schema=SCHEMA).problems() == []


class TestRegex:
    def test_must_match_or_must_not(self) -> None:
        assert Regex(pattern=r"(?i)\bparis\b").check(answered("It is Paris.")).passed
        assert not Regex(pattern=r"\bparis\b").check(answered("It is Paris.")).passed
        assert Regex(pattern="TODO", must="not_match").check(answered("Done.")).passed

    def test_one_that_never_ends_is_ended(self) -> None:
        with pytest.raises(RuleFailed, match="longer than"):
            Regex(pattern="^(a|a)*$").check(answered("a" * 5000 + "!"))

    @pytest.mark.parametrize("pattern", ["(", "a" * 2001, "[z-a]"])
    def test_one_that_is_none_is_a_problem(self, pattern: str) -> None:
        assert Regex(pattern=pattern).problems()[0].startswith("pattern: ")


class TestLength:
    def test_counts_characters_or_words(self) -> None:
        assert Length(least=3, most=5).check(answered(" abcd ")).passed
        assert not Length(most=3).check(answered("abcd")).passed
        assert Length(unit="words", least=2, most=2).check(answered("two words")).passed
        assert Length(unit="words", least=5, most=5).check(answered("\u6211\u559c\u6b22\u82f9\u679c")).passed

    def test_the_wrong_way_round_is_a_problem(self) -> None:
        assert Length(least=3, most=2).problems()
        assert Length(least=-1).problems()


class TestLanguage:
    def test_knows_the_wanted_one(self) -> None:
        german = answered("Das Wetter ist heute sehr schön und warm.")
        assert apply(Language(languages=("de",)), german).passed
        assert not apply(Language(languages=("en", "fr")), german).passed

    def test_is_that_of_the_question_where_none_is_named(self) -> None:
        question = "Wie wird das Wetter morgen in Hamburg?"
        assert apply(Language(), answered("Morgen scheint in Hamburg die Sonne.", question=question)).passed
        assert not apply(Language(), answered("The sun will shine in the city.", question=question)).passed

    def test_a_word_or_two_say_nothing(self) -> None:
        assert apply(Language(languages=("de",)), answered("OK")).passed

    def test_code_counts_for_nothing(self) -> None:
        text = "So geht das mit der Schleife:\n```\nfor each in the_list_of_things:\n    print(each)\n```"
        assert apply(Language(languages=("de",)), answered(text)).passed

    def test_an_unknown_code_is_a_problem(self) -> None:
        assert Language(languages=("xx",)).problems()[0].startswith("languages: 'xx'")

    def test_the_codes_are_those_of_the_library(self) -> None:
        assert told_apart() == KNOWN
