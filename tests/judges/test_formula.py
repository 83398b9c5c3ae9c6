"""Formulas: precedence, functions, and what is refused instead of evaluated."""

import math

import pytest

from judges.formula import MAX_CHARACTERS, FormulaError, Undefined, UnknownVariable, parse

VALUES = {"a": 0.5, "b": 2.0, "name_2": 1.0, "min": 7.0}


class TestValue:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("1", 1), (".5", 0.5), ("1e-3", 0.001), ("2.", 2),
            ("a + b * 2", 4.5), ("(a + b) * 2", 5), ("b - a - 1", 0.5), ("8 / b / 2", 2),
            ("2 ^ 3 ^ 2", 512), ("-2 ^ 2", -4), ("2 ^ -1", 0.5), ("(-2) ^ 2", 4), ("--b", 2), ("+-b", -2), ("3 - -b", 5),
            ("0.5 * a + 0.5 * name_2", 0.75), ("(a + b) / 2", 1.25),
            ("min(a, b)", 0.5), ("max(a, b, 3)", 3), ("min(a)", 0.5), ("min", 7), ("min(min, 1)", 1),
            ("abs(a - b)", 1.5), ("floor(-a)", -1), ("ceil(a)", 1), ("exp(0)", 1), ("sqrt(4)", 2), ("log(1)", 0),
            ("log(exp(b))", 2), (" max( a ,b )\n", 2),
        ],
    )  # fmt: skip
    def test_is_right(self, text: str, expected: float) -> None:
        assert parse(text).value(VALUES) == pytest.approx(expected)

    @pytest.mark.parametrize(
        "text", ["1/(a-a)", "sqrt(0-1)", "log(0)", "10^400", "exp(1000)", "(-8)^(1/3)", "1e308*10", "0^(-1)"]
    )
    def test_has_none(self, text: str) -> None:
        with pytest.raises(Undefined):
            parse(text).value(VALUES)

    def test_of_an_unknown_variable(self) -> None:
        with pytest.raises(UnknownVariable, match="`c`"):
            parse("a + c").value(VALUES)

    def test_of_a_very_large_integer(self) -> None:
        assert math.isclose(parse("9" * 300).value({}), float("9" * 300))


class TestParse:
    def test_finds_the_variables(self) -> None:
        assert parse("max(a, b) + é * 2 - min(a, 1)").variables == {"a", "b", "é"}

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("", "ends too early"), ("   ", "ends too early"), ("a +", "ends too early"), ("(a", "expected ')'"),
            ("a b", "did not expect 'b' at character 3"), ("a)", "did not expect ')'"), ("max()", "found ')'"),
            ("sum(a)", "unknown function 'sum'"), ("sqrt(a, b)", "takes one value"), ("a ** b", "found '*'"),
            ("a % b", "did not expect '%' at character 3"), ("a.b", "did not expect '.'"), ("1.2.3", "did not expect"),
            ("__import__(os)", "unknown function '__import__'"), ("'os'", "did not expect"), ("a; b", "did not expect ';'"), ("a if b else 1", "did not expect 'if'"),
            ("{{ a }}", "did not expect '{'"), ("2a", "did not expect 'a'"), ("a,b", "did not expect ','"),
        ],
    )  # fmt: skip
    def test_refuses(self, text: str, told: str) -> None:
        with pytest.raises(FormulaError) as error:
            parse(text)
        assert told in str(error.value)

    @pytest.mark.parametrize(
        "text",
        ["(" * 900 + "1" + ")" * 900, "1" + "^1" * 900, "abs(" * 450 + "1" + ")" * 450, "1+" * MAX_CHARACTERS + "1"],
    )
    def test_what_is_too_deep_or_too_long(self, text: str) -> None:
        with pytest.raises(FormulaError, match="at most"):
            parse(text)

    def test_long_chains_are_no_nesting(self) -> None:
        assert parse("+".join(["1"] * 900)).value({}) == 900
        assert parse("-" * 1001 + "1").value({}) == -1
