import math
from collections import Counter

import pytest
import torch

from trainer.engine.sampling import Options, Sampler, choose, most_probable

pytestmark = pytest.mark.train

VOCABULARY = 8


def logits_of(*probabilities: float):
    return torch.tensor(probabilities).log()


SKEWED = logits_of(0.4, 0.3, 0.1, 0.1, 0.05, 0.03, 0.01, 0.01)


def draw(count: int, logits=SKEWED, prompt=(0,), index: int = 0, **options) -> list[int]:
    sampler = Sampler(Options(max_tokens=count, **options), index, prompt, VOCABULARY)
    return [sampler.pick(logits)[0] for _ in range(count)]


class TestSampler:
    def test_temperature_zero_takes_the_largest(self):
        assert draw(5, temperature=0.0) == [0] * 5

    def test_draws_in_proportion(self):
        drawn = Counter(draw(4000, seed=1))
        assert drawn[0] / 4000 == pytest.approx(0.4, abs=0.03)
        assert drawn[6] / 4000 == pytest.approx(0.01, abs=0.01)

    def test_temperature_flattens(self):
        drawn = Counter(draw(4000, seed=1, temperature=2.0))
        weights = [math.sqrt(p) for p in (0.4, 0.3, 0.1, 0.1, 0.05, 0.03, 0.01, 0.01)]
        assert drawn[0] / 4000 == pytest.approx(weights[0] / sum(weights), abs=0.03)

    def test_top_k_and_top_p_leave_the_most_probable(self):
        assert set(draw(500, seed=1, top_k=2)) == {0, 1}
        assert set(draw(500, seed=1, top_p=0.69)) == {0, 1}
        assert len(set(draw(500, seed=1, top_p=0.75))) == 3
        assert set(draw(100, seed=1, top_p=0.0)) == {0}

    def test_a_seed_repeats_and_choices_differ(self):
        assert draw(50, seed=3) == draw(50, seed=3)
        assert draw(50, seed=3) != draw(50, seed=4)
        assert draw(50, seed=3) != draw(50, seed=3, index=1)
        assert draw(50, seed=3, index=1) == draw(50, seed=3, index=1)

    def test_without_a_seed_answers_differ(self):
        assert draw(50) != draw(50)

    def test_frequency_penalty_grows_and_presence_penalty_does_not(self):
        assert draw(3, temperature=0.0, presence_penalty=1.0)[:2] == [0, 1]
        assert draw(4, temperature=0.0, frequency_penalty=0.2) == [0, 0, 1, 0]
        assert draw(4, temperature=0.0, presence_penalty=0.2) == [0, 0, 0, 0]

    def test_repetition_penalty_counts_the_prompt(self):
        assert draw(1, temperature=0.0, repetition_penalty=2.0, prompt=(0,)) == [1]

    def test_logit_bias(self):
        assert draw(3, temperature=0.0, logit_bias={5: 100.0}) == [5] * 3
        assert 0 not in draw(200, seed=1, logit_bias={0: -100.0})

    def test_min_tokens_bans_the_end(self):
        assert draw(4, temperature=0.0, min_tokens=2, stop_ids=frozenset({0})) == [1, 1, 0, 0]

    def test_logprobs_are_those_before_reshaping(self):
        sampler = Sampler(Options(max_tokens=1, temperature=0.0, logit_bias={5: 100.0}, top_logprobs=2), 0, (0,), 8)
        token, report = sampler.pick(SKEWED)
        assert (token, report.token) == (5, 5)
        assert report.logprob == pytest.approx(math.log(0.03), abs=1e-5)
        assert [token for token, _ in report.top] == [0, 1]
        assert report.top[0][1] == pytest.approx(math.log(0.4), abs=1e-5)


class TestMostProbable:
    def test_a_flat_distribution_over_a_large_vocabulary_is_sorted_whole(self):
        values, ids = most_probable(torch.full((5000,), 1 / 5000), 0, 0.5)
        assert len(values) == len(ids) == pytest.approx(2500, abs=2)

    def test_top_p_is_taken_of_what_top_k_leaves(self):
        values, _ = most_probable(torch.tensor([0.3, 0.2, 0.2, 0.2, 0.1]), 2, 0.5)
        assert len(values) == 1


class TestChoose:
    def test_each_row_follows_its_own_options(self):
        greedy = Sampler(Options(max_tokens=1, temperature=0.0), 0, (0,), VOCABULARY)
        biased = Sampler(Options(max_tokens=1, temperature=0.0, logit_bias={7: 100.0}), 0, (0,), VOCABULARY)
        drawn = choose(torch.stack([SKEWED, SKEWED, SKEWED]), [greedy, biased, greedy])
        assert [token for token, _ in drawn] == [0, 7, 0]
