"""Which examples are most like a question: BM25 over what users asked in them (Robertson and Zaragoza 2009, by bm25s)."""

import importlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

CHARACTERS_A_TOKEN = 4
MOST_TOKENS = 200
"""Words of a question that are looked up: more make nothing more alike."""
# Words of scripts with spaces; of others, each character.
_words = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)


@dataclass(frozen=True, slots=True)
class Shot:
    """An example as it is put into a prompt."""

    messages: tuple[msgspec.Raw, ...]
    tokens: int
    """About."""
    tags: frozenset[str]
    score: float | None
    asked: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How many, and which."""

    count: int
    tags: Collection[str]
    """All of them."""
    max_tokens: int
    """Together."""
    min_score: float | None


class Index:
    """Built once, then only read. It takes a third of a millisecond an example, in whatever thread."""

    def __init__(self, shots: Iterable[Shot]) -> None:
        found = [(shot, words(shot.asked)) for shot in shots]
        self._shots = [shot for shot, tokens in found if tokens]
        self._scores: Any = None
        if self._shots:
            # Imported here: it takes half a second that a gateway without few-shot examples does not spend.
            self._scores = importlib.import_module("bm25s").BM25()
            self._scores.index([tokens for _, tokens in found if tokens], show_progress=False)

    def __len__(self) -> int:
        return len(self._shots)

    def similar(self, question: str, wanted: Wanted) -> list[Shot]:
        """The most similar ones, best first; of those that have no word in common with the question none."""
        tokens = words(question)
        if not tokens or not self._shots:
            return []
        scores = self._scores.get_scores(tokens)
        chosen: list[Shot] = []
        room = wanted.max_tokens
        for place in (-scores).argsort(kind="stable"):
            if len(chosen) == wanted.count or scores[place] <= 0:
                break
            shot = self._shots[place]
            if _fits(shot, wanted) and shot.tokens <= room:
                chosen.append(shot)
                room -= shot.tokens
        return chosen


def words(text: str) -> list[str]:
    """In lower case, at most MOST_TOKENS."""
    return [match.group() for match, _ in zip(_words.finditer(text.casefold()), range(MOST_TOKENS), strict=False)]


def shot(line: dict[str, Any], tags: Collection[str], score: float | None) -> Shot | None:
    """Of an example's line. None where it calls tools: they are not those of the call that it would be shown to.

    System messages stay out: the call has its own.
    """
    messages = [message for message in line["messages"] if message["role"] not in ("system", "developer")]
    if not messages or any(message["role"] not in ("user", "assistant") or _calls(message) for message in messages):
        return None
    kept = [{"role": message["role"], "content": message["content"]} for message in messages]
    raw = tuple(msgspec.Raw(msgspec.json.encode(message)) for message in kept)
    asked = "\n".join(_text(message["content"]) for message in kept if message["role"] == "user")
    tokens = -(-sum(len(bytes(message)) for message in raw) // CHARACTERS_A_TOKEN)
    return Shot(raw, tokens, frozenset(tags), score, asked)


def _fits(each: Shot, wanted: Wanted) -> bool:
    good = wanted.min_score is None or (each.score is not None and each.score >= wanted.min_score)
    return good and each.tags.issuperset(wanted.tags)


def _calls(message: dict[str, Any]) -> bool:
    return bool(message.get("tool_calls") or message.get("function_call") or message.get("content") is None)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("text"))
