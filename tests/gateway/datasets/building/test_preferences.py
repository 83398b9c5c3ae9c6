"""What contradicts what among the answers of one prompt, with answers that are known."""

import random
from graphlib import TopologicalSorter

import pytest

from gateway.datasets.building.preferences import Contradiction, Preference, contradictions


def said(*preferences: str) -> list[Preference]:
    """`A>B`, `A>B*3` by three votes more, `A>B@2` by somebody of rank 2."""
    return [_preference(each) for each in preferences]


def _preference(text: str) -> Preference:
    ways, _, rank = text.partition("@")
    ways, _, votes = ways.partition("*")
    chosen, rejected = ways.split(">")
    return Preference(chosen, rejected, int(rank or 0), int(votes or 1))


def dropped(*preferences: str) -> dict[str, Contradiction]:
    return {preferences[place]: reason for place, reason in contradictions(said(*preferences)).items()}


class TestOpposites:
    def test_as_many_on_both_sides_lose_both(self) -> None:
        assert dropped("A>B", "B>A") == {"A>B": "contradictory", "B>A": "contradictory"}

    def test_the_majority_stays(self) -> None:
        assert dropped("A>B*2", "B>A") == {"B>A": "contradictory"}

    def test_votes_of_several_pairs_are_added(self) -> None:
        assert dropped("B>A*2", "A>B*2", "A>B") == {"B>A*2": "contradictory"}

    @pytest.mark.parametrize("machine", ["B>A@2", "B>A*9@2"])
    def test_whose_word_counts_first_decides_alone(self, machine: str) -> None:
        assert dropped("A>B", machine) == {machine: "contradictory"}

    def test_nobody_settles_what_people_are_divided_about(self) -> None:
        assert set(dropped("A>B", "B>A", "A>B@2").values()) == {"contradictory"}
        assert len(dropped("A>B", "B>A", "A>B@2")) == 3

    def test_the_same_said_again_is_none(self) -> None:
        assert dropped("A>B", "A>B@3") == {}

    def test_an_answer_beside_itself_is_none(self) -> None:
        """An example by hand may be so; other checks tell of it."""
        assert dropped("A>A") == {}


class TestCircles:
    def test_of_three_equally_strong_ones_none_stays(self) -> None:
        assert dropped("A>B", "B>C", "C>A") == dict.fromkeys(("A>B", "B>C", "C>A"), "circular")

    def test_the_weakest_goes(self) -> None:
        assert dropped("A>B*3", "B>C*2", "C>A") == {"C>A": "circular"}

    def test_the_weakest_two_go(self) -> None:
        assert dropped("A>B*3", "B>C", "C>A") == dict.fromkeys(("B>C", "C>A"), "circular")

    def test_a_judge_that_closes_one_with_people_loses(self) -> None:
        assert dropped("A>B", "B>C", "C>A*9@2") == {"C>A*9@2": "circular"}

    def test_an_order_is_none(self) -> None:
        assert dropped("A>B", "B>C", "A>C", "C>D", "A>D") == {}

    def test_what_leads_from_one_to_another_stays(self) -> None:
        one, bridge, other = ("A>B", "B>C", "C>A"), ("C>D",), ("D>E", "E>F", "F>D")
        assert set(dropped(*one, *bridge, *other)) == {*one, *other}

    def test_opposites_are_settled_first(self) -> None:
        """C>A is outvoted, so there is no circle."""
        assert dropped("A>B", "B>C", "C>A", "A>C*2") == {"C>A": "contradictory"}

    def test_what_says_the_same_goes_with_it(self) -> None:
        assert set(dropped("A>B", "B>C", "C>A", "C>A@3")) == {"A>B", "B>C", "C>A", "C>A@3"}

    def test_as_ranked_pairs_decide(self) -> None:
        """45 votes on five candidates (Schulze 2011, example 1), by hand: BD, ED, AD and CB hold, DC closes BD and CB, EB and
        AC hold, BA closes AC and CB, CE holds, EA closes AC and CE."""
        margins = {
            "B>D": 21,
            "E>D": 17,
            "A>D": 15,
            "C>B": 13,
            "D>C": 11,
            "E>B": 9,
            "A>C": 7,
            "B>A": 5,
            "C>E": 3,
            "E>A": 1,
        }
        found = dropped(*(f"{way}*{margin}" for way, margin in margins.items()))
        assert found == dict.fromkeys(("D>C*11", "B>A*5", "E>A*1"), "circular")


class TestWhateverIsSaid:
    SEEDS = range(60)

    @staticmethod
    def any_of(seed: int) -> list[Preference]:
        chance = random.Random(seed)
        pairs = [chance.sample("ABCDEFGH", 2) for _ in range(chance.randint(2, 25))]
        return [Preference(a, b, chance.choice((0, 0, 2)), chance.randint(1, 3)) for a, b in pairs]

    @pytest.mark.parametrize("seed", SEEDS)
    def test_an_order_is_left(self, seed: int) -> None:
        preferences = self.any_of(seed)
        out = contradictions(preferences)
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for place, each in enumerate(preferences):
            if place not in out:
                sorter.add(each.rejected, each.chosen)
        sorter.prepare()  # raises CycleError

    @pytest.mark.parametrize("seed", SEEDS)
    def test_whatever_the_order_that_it_is_said_in(self, seed: int) -> None:
        preferences = self.any_of(seed)
        places = list(range(len(preferences)))
        random.Random(-seed).shuffle(places)
        found = contradictions([preferences[place] for place in places])
        assert {places[place]: reason for place, reason in found.items()} == contradictions(preferences)
