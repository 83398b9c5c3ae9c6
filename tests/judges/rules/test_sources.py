"""Rules on what an answer leans on."""

import pytest

from judges.rules.sources import CitationsInContext, Groundedness, MustCite
from tests.judges.rules.subjects import answered

CONTEXT = "[1] The tower is 330 metres tall. [2] It was finished in 1889 by the company of Gustave Eiffel."


class TestMustCite:
    def test_claims_need_a_citation(self) -> None:
        outcome = MustCite().check(answered("The tower is 330 metres tall [1]. It was finished in 1889."))
        assert (outcome.passed, outcome.score) == (False, 0.5)
        assert outcome.found == {"claims": 2, "cited": 1}

    def test_what_claims_nothing_needs_none(self) -> None:
        assert MustCite().check(answered("Hello! How can I help?")).passed

    def test_the_number_of_a_citation_is_no_claim(self) -> None:
        assert MustCite().check(answered("It is tall [1].")).found["claims"] == 0

    def test_a_share_may_do(self) -> None:
        assert MustCite(least=0.5).check(answered("It has 3 floors [1]. It has 5 lifts.")).passed

    def test_links_are_no_citations(self) -> None:
        assert not MustCite().check(answered("It has 3 floors [here](https://example.com).")).passed


class TestCitationsInContext:
    def test_cited_ids_exist(self) -> None:
        assert CitationsInContext().check(answered("Tall [1], old [2].", CONTEXT)).passed
        outcome = CitationsInContext().check(answered("Tall [1], old [7].", CONTEXT))
        assert (outcome.passed, outcome.score) == (False, 0.5)
        assert "'7'" in outcome.rationale

    def test_quotes_stand_in_the_context(self) -> None:
        good = 'It says "finished in 1889 by the  Company of Gustave Eiffel".'
        made_up = 'It says "finished in 1902 by the brothers of Auguste Perret".'
        assert CitationsInContext().check(answered(good, CONTEXT)).passed
        assert not CitationsInContext().check(answered(made_up, CONTEXT)).passed
        assert CitationsInContext(quotes=False).check(answered(made_up, CONTEXT)).passed

    @pytest.mark.parametrize("given", ["", "e", "330 metres", "finished in 1902"])
    def test_what_is_longer_than_the_context_is_not_in_it(self, given: str) -> None:
        said = 'It says "finished in 1902 by the brothers of Auguste Perret: 330 metres".'
        assert not CitationsInContext().check(answered(said, question=given)).passed

    def test_a_slip_at_the_end_of_the_context_is_one(self) -> None:
        said = 'It says "finished in 1889 by the company of Gustave Eiffel.".'
        assert (
            CitationsInContext()
            .check(answered(said, question="finished in 1889 by the company of Gustave Eiffe"))
            .passed
        )

    def test_only_the_named_roles_are_context(self) -> None:
        subject = answered("Tall [1].", CONTEXT)
        assert not CitationsInContext(context=("tool",)).check(subject).passed


class TestGroundedness:
    def test_sentences_share_their_words_with_the_context(self) -> None:
        grounded = "The tower is 330 metres tall. Gustave Eiffel's company finished it in 1889."
        assert Groundedness().check(answered(grounded, CONTEXT)).passed
        outcome = Groundedness().check(answered("The tower is 330 metres tall. Penguins inhabit Antarctica.", CONTEXT))
        assert (outcome.passed, outcome.score) == (False, 0.5)
        assert "Penguins" in outcome.rationale

    def test_works_in_scripts_without_spaces(self) -> None:
        context = "\u57c3\u83f2\u5c14\u94c1\u5854\u9ad8330\u7c73\u3002"
        assert Groundedness().check(answered("\u94c1\u5854\u9ad8330\u7c73\u3002", context)).passed
        assert not Groundedness().check(answered("\u4f01\u9e45\u751f\u6d3b\u5728\u5357\u6781\u3002", context)).passed

    @pytest.mark.parametrize("rule", [Groundedness(overlap=2), Groundedness(least=-1), MustCite(least=float("nan"))])
    def test_what_is_no_share_is_a_problem(self, rule: Groundedness) -> None:
        assert "a share is between 0 and 1" in rule.problems()[0]
