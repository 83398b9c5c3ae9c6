from typing import Any

import pytest

from gateway.evals.criteria import Criterion, read, reference, with_id
from gateway.protocol.evals import Metrics
from judges.validation import parse
from tests.fakes.evals import ALIKE, LABEL, SAME, SCORE

PYTHON = {"type": "python", "name": "p", "source": "def grade(sample, item): return 1"}


def criterion(raw: dict[str, Any], **more: Any) -> Criterion:
    return Criterion("c-1", parse(raw | more))  # type: ignore[arg-type]


class TestPasses:
    @pytest.mark.parametrize(
        ("grader", "most_that_fails", "least_that_passes"),
        [
            (SAME, 0, 1),
            (LABEL, 0, 1),
            (ALIKE, 0.499, 0.5),
            (ALIKE | {"pass_threshold": 0.9}, 0.899, 0.9),
            (SCORE, 4.99, 5),
            (SCORE | {"range": [-1, 1]}, -0.01, 0),
            (SCORE | {"pass_threshold": 8}, 7.9, 8),
            (PYTHON, 0.49, 0.5),
            (PYTHON | {"pass_threshold": 2}, 1.9, 2),
        ],
    )
    def test_from_the_threshold_on(self, grader: Any, most_that_fails: float, least_that_passes: float) -> None:
        assert not criterion(grader).passes(most_that_fails)
        assert criterion(grader).passes(least_that_passes)


class TestScore:
    def test_is_the_place_in_the_range(self) -> None:
        assert criterion(SCORE).score(2.5) == 0.25
        assert criterion(SCORE, range=[-1, 1]).score(0) == 0.5
        assert criterion(ALIKE).score(0.3) == 0.3

    def test_of_python_never_leaves_0_to_1(self) -> None:
        assert [criterion(PYTHON).score(reward) for reward in (-3, 0.25, 1.7)] == [0, 0.25, 1]


class TestStored:
    def test_comes_back_as_it_was(self) -> None:
        stored = [with_id(parse(each)) for each in (SAME, ALIKE, SCORE, LABEL)]
        found = read(stored)
        assert [each.id for each in found] == [each["id"] for each in stored]
        assert [each.name for each in found] == ["same", "alike", "judge", "tone"]
        assert [each.is_judge for each in found] == [False, False, True, True]


class TestReference:
    def test_is_what_the_first_criterion_compares_with(self) -> None:
        known = [criterion(SCORE), criterion(ALIKE, reference="{{ item.right }}"), criterion(SAME)]
        assert reference(known, Metrics()) == "{{ item.right }}"

    def test_is_the_named_one_first(self) -> None:
        assert reference([criterion(SAME)], Metrics(reference="{{ item.x }}")) == "{{ item.x }}"

    @pytest.mark.parametrize(
        "raw", [SCORE, SAME | {"operation": "ne"}, SAME | {"reference": "Paris"}, SAME | {"input": "{{ item.x }}"}]
    )
    def test_is_none_where_nothing_is_right(self, raw: Any) -> None:
        assert reference([criterion(raw)], Metrics()) is None


class TestNeedsSample:
    def test_by_its_templates(self) -> None:
        assert criterion(SAME).needs_sample()
        assert not criterion(SAME, input="{{ item.x }}").needs_sample()
        judge = SCORE | {
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "{{sample.output_text}}"}]}]
        }
        assert criterion(judge).needs_sample()
        assert not criterion(SCORE).needs_sample()
