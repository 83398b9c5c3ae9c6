"""Which language a text is in."""

from concurrent.futures import ThreadPoolExecutor

import py3langid
import pytest
from py3langid import langid

from judges.rules import detection
from judges.rules.formats import Language
from judges.subject import Subject
from tests.judges.rules.subjects import answered

THREADS = 8


class TestLanguageOf:
    @pytest.mark.parametrize(
        ("text", "language"),
        [("The parcel arrives in three days.", "en"), ("Der Brief kommt in drei Tagen an.", "de")],
    )
    def test_is_told_by_the_text(self, text: str, language: str) -> None:
        assert detection.language_of(text) == language

    def test_code_in_fences_says_nothing(self) -> None:
        assert detection.language_of("Der Brief kommt heute an.\n```\nthe only way is the other way\n```") == "de"

    def test_the_model_is_read_once_however_many_want_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each further one takes half a second of CPU time and its memory."""
        read: list[object] = []
        load = langid._load_identifier

        def counted() -> object:
            read.append(None)
            return load()

        monkeypatch.setattr(langid, "_load_identifier", counted)
        monkeypatch.setattr(langid, "IDENTIFIER", None)
        detection._told_apart.cache_clear()
        with ThreadPoolExecutor(THREADS) as pool:
            said = list(pool.map(detection.language_of, ["The parcel arrives in three days."] * THREADS))
        assert said == ["en"] * THREADS
        assert len(read) == 1
        assert py3langid.classify("Der Brief kommt heute an.")[0] == "de"


class TestInLanguage:
    ENGLISH = "It is the third door on the left, behind the stairs."
    GERMAN = "Es ist die dritte T\u00fcr links, gleich hinter der Treppe."

    @pytest.mark.parametrize("question", ["Why?", "OK?", "Hi", "", "And then?"])
    @pytest.mark.parametrize("answer", [ENGLISH, GERMAN])
    def test_a_question_that_is_too_short_tells_none(self, question: str, answer: str) -> None:
        outcome = detection.in_language(Language(), answered(answer, question=question))
        assert (outcome.passed, outcome.found) == (True, {"language": None})
        assert outcome.rationale == "The question is too short to tell its language."

    def test_then_what_the_user_said_before_it_tells(self) -> None:
        said = [
            {"role": "user", "content": "Wo liegt hier im Haus bitte das Sekretariat?"},
            {"role": "user", "content": "Why?"},
        ]
        for answer, passed in ((self.GERMAN, True), (self.ENGLISH, False)):
            subject = Subject(messages=said, answer={"role": "assistant", "content": answer})
            assert detection.in_language(Language(), subject).passed is passed

    def test_named_languages_need_no_question(self) -> None:
        assert detection.in_language(Language(languages=("de",)), answered(self.GERMAN, question="Hi")).passed
        assert not detection.in_language(Language(languages=("de",)), answered(self.ENGLISH, question="Hi")).passed
