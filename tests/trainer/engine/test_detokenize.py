import random

import pytest

from trainer.engine.detokenize import LONGEST_CHARACTER, Detokenizer, StopStrings

pytestmark = pytest.mark.train


def decode_bytes(ids):
    """A tokenizer whose tokens are single bytes."""
    return bytes(ids).decode(errors="replace")


def decode_words(ids):
    """A tokenizer of the SentencePiece kind: the first word of a text loses its space."""
    return "".join(f" w{token}" for token in ids)[1:]


class TestDetokenizer:
    def test_holds_back_the_bytes_of_an_incomplete_character(self):
        detokenizer = Detokenizer(decode_bytes, [])
        pieces = [detokenizer.push(byte) for byte in "né🙂!".encode()]
        assert "".join(pieces) == "né🙂!"
        assert pieces[1:3] == ["", "é"]
        assert pieces[3:7] == ["", "", "", "🙂"]

    def test_no_piece_ever_ends_inside_a_character(self):
        text = "日本語 café 🙂🚀 naïve"
        detokenizer = Detokenizer(decode_bytes, list("提示".encode()))
        pieces = [detokenizer.push(byte) for byte in text.encode()]
        assert "".join(pieces) == text
        assert all("\ufffd" not in piece for piece in pieces)

    def test_keeps_the_space_before_the_first_word(self):
        detokenizer = Detokenizer(decode_words, [1, 2])
        assert [detokenizer.push(token) for token in (3, 4)] == [" w3", " w4"]

    def test_bytes_that_never_become_a_character_are_given_up(self):
        detokenizer = Detokenizer(decode_bytes, [])
        pieces = [detokenizer.push(0xFF) for _ in range(LONGEST_CHARACTER)]
        assert "".join(pieces) == "\ufffd" * LONGEST_CHARACTER
        assert detokenizer.push(ord("a")) == "a"


def stopped_text(stops, pieces):
    """(text shown, whether it was stopped), as a choice uses StopStrings."""
    strings, shown = StopStrings(stops), ""
    for piece in pieces:
        text, stopped = strings.push(piece)
        shown += text
        if stopped:
            return shown, True
    return shown + strings.flush(), False


class TestStopStrings:
    def test_stop_string_within_one_piece(self):
        assert stopped_text(["END"], ["abcENDdef"]) == ("abc", True)

    def test_stop_string_over_many_pieces(self):
        assert stopped_text(["END"], ["abcE", "N", "Dx"]) == ("abc", True)

    def test_a_false_start_is_shown_in_the_end(self):
        assert stopped_text(["END"], ["abE", "N", "ox"]) == ("abENox", False)
        assert stopped_text(["END"], ["abE", "N"]) == ("abEN", False)

    def test_a_false_start_may_overlap_the_true_one(self):
        assert stopped_text(["aab"], ["a", "a", "a", "b"]) == ("a", True)

    def test_the_first_of_several_wins(self):
        assert stopped_text(["sea", "lu"], ["blue sea"]) == ("b", True)

    def test_nothing_is_held_back_without_stop_strings(self):
        assert StopStrings([]).push("abc") == ("abc", False)

    def test_agrees_with_a_search_in_the_whole_text(self):
        rng = random.Random(7)
        for _ in range(500):
            text = "".join(rng.choices("ab", k=12))
            stops = ["".join(rng.choices("ab", k=rng.randint(1, 4))) for _ in range(rng.randint(1, 3))]
            cuts = sorted(rng.sample(range(13), 3))
            pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, 12], strict=True)]
            # A stop string ends the answer as soon as it is complete, so the one that ends first is the one that counts.
            ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
            shown, stopped = stopped_text(stops, list(text))
            assert stopped == bool(ends)
            if ends:
                first_end = min(ends)[0]
                assert shown == text[: min(at for end, at in ends if end == first_end)]
            assert stopped_text(stops, pieces)[1] == stopped
