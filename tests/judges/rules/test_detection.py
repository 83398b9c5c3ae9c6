"""Which language a text is in."""

from concurrent.futures import ThreadPoolExecutor

import py3langid
import pytest
from py3langid import langid

from judges.rules import detection

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
