"""Near-duplicates are found, whatever was done to the copy, and strangers are left apart."""

import random
from pathlib import Path

import numpy as np
import pytest

from gateway.datasets.cleaning.near import HASHES, Bands, across, join, rows_of_a_band
from gateway.datasets.cleaning.shingles import folded, shingles, similarity
from gateway.datasets.cleaning.unions import Unions
from tests.judges.ending import at_most

SYLLABLES = "ba ce di fo gu ha je ki lo mu na pe qui ro su ta ve wi xo yu za".split()  # noqa: SIM905 readable so


def word(source: random.Random) -> str:
    return "".join(source.choice(SYLLABLES) for _ in range(source.randint(2, 4)))


def prompts(count: int, seed: int, words: int = 30) -> list[list[str]]:
    source = random.Random(seed)
    known = [word(source) for _ in range(500)]
    return [[source.choice(known) for _ in range(words)] for _ in range(count)]


def together(texts: list[str], place: Path, threshold: float) -> Unions:
    bands, unions = Bands(place / "bands", threshold), Unions(len(texts))
    for text in texts:
        bands.add(text)
    bands.close()
    join(bands, unions, lambda number: (texts[number],), threshold)
    bands.remove()
    return unions


class TestJoin:
    @pytest.mark.parametrize("changed", [0, 1, 2, 3, 4])
    def test_finds_copies_with_changed_words(self, changed: int, tmp_path: Path) -> None:
        originals, source = prompts(300, seed=changed), random.Random(100 + changed)
        copies = []
        for original in originals:
            copy = list(original)
            for place in source.sample(range(len(copy)), changed):
                copy[place] = word(source)
            copies.append(copy)
        unions = together([" ".join(each) for each in (*originals, *copies)], tmp_path, 0.5)
        found = sum(unions.root(number) == unions.root(number + 300) for number in range(300))
        assert found >= 298

    def test_leaves_strangers_apart(self, tmp_path: Path) -> None:
        texts = [" ".join(each) for each in prompts(1000, seed=7)]
        unions = together(texts, tmp_path, 0.5)
        assert len(set(unions.roots().tolist())) == 1000

    def test_case_spaces_and_signs_make_no_difference(self, tmp_path: Path) -> None:
        texts = [
            "What is the capital of France?",
            "  what IS the capital -- of France",
            "How tall is the tower in Paris?",
        ]
        unions = together(texts, tmp_path, 0.95)
        assert [unions.root(number) for number in range(3)] == [0, 0, 2]

    def test_names_and_numbers_in_a_template(self, tmp_path: Path) -> None:
        template = (
            "Dear {}, your order {} was shipped to your address and will arrive within the next three working days."
        )
        texts = [
            template.format("Ann", 1234),
            template.format("Robert", 98765),
            "Something else altogether is said here.",
        ]
        unions = together(texts, tmp_path, 0.5)
        assert [unions.root(number) for number in range(3)] == [0, 0, 2]

    def test_texts_without_letters_are_like_nothing(self, tmp_path: Path) -> None:
        unions = together(["", "?!", "", "a", "a"], tmp_path, 0.5)
        assert [unions.root(number) for number in range(5)] == [0, 1, 2, 3, 3]

    def test_many_copies_of_one_text_are_one(self, tmp_path: Path) -> None:
        texts = ["The same thing is said again and again here."] * 5000
        unions = together(texts, tmp_path, 0.9)
        assert not unions.roots().any()

    def test_leaves_nothing_on_disk(self, tmp_path: Path) -> None:
        together(["some text that is long enough"], tmp_path, 0.5)
        assert list((tmp_path / "bands").iterdir()) == []


class TestShingles:
    def test_similarity_is_jaccards_of_five_characters(self) -> None:
        one, other = "abcdefgh", "abcdefxy"
        left, right = ({text[at : at + 5] for at in range(4)} for text in (one, other))
        assert similarity(shingles(one), shingles(other)) == len(left & right) / len(left | right)

    def test_short_texts_are_one_shingle(self) -> None:
        assert len(shingles("ab")) == 1
        assert similarity(shingles("ab"), shingles("AB!")) == 1.0
        assert similarity(shingles("ab"), shingles("ac")) == 0.0

    def test_nothing_is_like_nothing(self) -> None:
        assert similarity(shingles(""), shingles("...")) == 1.0
        assert similarity(shingles(""), shingles("abc")) == 0.0

    def test_every_script_has_its_own(self) -> None:
        assert (
            folded("Straße \uff21\uff22 \u6211\u559c\u6b22\uff0c\u82f9\u679c")
            == "strasse ab \u6211\u559c\u6b22 \u82f9\u679c"
        )
        assert len(shingles("\u6211\u559c\u6b22\u5403\u82f9\u679c\u548c\u9999\u8549")) == 5

    def test_a_lone_surrogate_is_a_character(self) -> None:
        assert len(shingles("abc\ud800def")) > 0

    def test_a_hundred_thousand_marks_on_a_letter_are_read_soon(self) -> None:
        """Two kinds in turns: to bring them into order took half a minute."""
        with at_most(5):
            assert len(shingles("a" + "\u0301\u0316" * 50_000)) > 0


class TestUnions:
    def test_the_root_is_the_smallest_whatever_the_order(self) -> None:
        source = random.Random(5)
        pairs = [(source.randrange(200), source.randrange(200)) for _ in range(150)]
        one, other = Unions(200), Unions(200)
        for pair in pairs:
            one.join(*pair)
        for pair in reversed(pairs):
            other.join(*pair[::-1])
        assert np.array_equal(one.roots(), other.roots())
        assert all(root <= member for member, root in enumerate(one.roots()))
        assert all(one.root(a) == one.root(b) for a, b in pairs)


class TestRowsOfABand:
    """The higher the threshold, the longer the bands: strangers do not meet in them, and what is alike does."""

    @pytest.mark.parametrize("threshold", [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    def test_finds_what_is_right_at_the_threshold(self, threshold: float) -> None:
        rows = rows_of_a_band(threshold)
        assert 1 - (1 - threshold**rows) ** (HASHES // rows) >= 0.995

    def test_grows(self) -> None:
        assert [rows_of_a_band(threshold) for threshold in (0.3, 0.5, 0.8, 1.0)] == [2, 3, 6, 10]


class TestAcross:
    def test_finds_what_is_like_anything_below_the_border(self, tmp_path: Path) -> None:
        known = [" ".join(each) for each in prompts(50, seed=1)]
        texts = [*known, known[7].upper(), "something else that nobody has said before", known[49] + " indeed"]
        bands = Bands(tmp_path / "bands", 0.5)
        for text in texts:
            bands.add(text)
        bands.close()
        assert across(bands, 50, lambda number: (texts[number],), 0.5) == {50, 52}


class TestLargeBuckets:
    def test_groups_in_one_template_are_told_apart(self, tmp_path: Path) -> None:
        """More than are compared each with each: two halves in turns."""
        one, two = (" ".join(prompts(1, seed=seed, words=60)[0]) for seed in (1, 2))
        texts = [(one, two)[number % 2] + f" {number}" for number in range(400)]
        unions = together(texts, tmp_path, 0.8)
        assert set(unions.roots().tolist()) == {0, 1}
