"""Questions that are nearly the same."""

from gateway.guidance.populations import Sighting
from gateway.guidance.topics import COMPARED, topics
from tests.gateway.guidance.materials import START


def failures(count: int) -> list[Sighting]:
    return [Sighting(str(n), START - n, "m", None, None, None, failed=True) for n in range(count)]


class TestTopics:
    def test_the_same_question_in_other_words_and_numbers(self) -> None:
        questions = {
            "0": "How do I return order 4711?",
            "1": "how do i return order 815",
            "2": "What is your phone number?",
        }
        groups, compared = topics(failures(3), questions)
        assert [[each.id for each in group] for group in groups] == [["0", "1"]]
        assert compared == 3

    def test_the_largest_first(self) -> None:
        questions = {str(n): "Where is my parcel?" if n % 3 else "Cancel the subscription now" for n in range(9)}
        groups, _ = topics(failures(9), questions)
        assert [len(group) for group in groups] == [6, 3]

    def test_a_short_question_is_not_like_every_long_one(self) -> None:
        questions = {"0": "refund", "1": "I want a refund of the blue shoes that I bought last week in Berlin"}
        assert topics(failures(2), questions)[0] == []

    def test_what_has_no_words_is_not_compared(self) -> None:
        assert topics(failures(3), {"0": "", "1": "??"}) == ([], 0)

    def test_no_more_than_so_many(self) -> None:
        questions = {str(n): "Where is my parcel?" for n in range(COMPARED + 50)}
        groups, compared = topics(failures(COMPARED + 50), questions)
        assert ([len(group) for group in groups], compared) == ([COMPARED], COMPARED)
