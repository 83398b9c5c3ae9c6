"""Token ids to text, one token at a time: no broken characters, no part of a stop string."""

from collections.abc import Callable, Sequence

CONTEXT_TOKENS = 5
"""Prompt tokens that the first new tokens are decoded after, so that a leading space survives."""

LONGEST_CHARACTER = 16
"""Tokens after which an incomplete character is given up: four bytes make the longest valid one."""

REPLACEMENT = "\ufffd"


class Detokenizer:
    """Turns a growing list of token ids into text.

    Holds back tokens that end inside a character: decoding them alone would give U+FFFD where the complete
    character belongs.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], prompt_ids: Sequence[int]) -> None:
        self._decode = decode
        self._settled = list(prompt_ids[-CONTEXT_TOKENS:])
        self._settled_text = decode(self._settled)
        self._pending: list[int] = []

    def push(self, token: int) -> str:
        """The text that this token completes; "" while a character is incomplete."""
        self._pending.append(token)
        text = self._decode(self._settled + self._pending)
        incomplete = text.endswith(REPLACEMENT) or len(text) <= len(self._settled_text)
        if incomplete and len(self._pending) < LONGEST_CHARACTER:
            return ""
        fresh = text[len(self._settled_text) :]
        self._settled, self._pending = self._pending, []
        self._settled_text = self._decode(self._settled)
        return fresh


class StopStrings:
    """Cuts a text that arrives in pieces at the first stop string, which is not part of the text.

    Holds back the longest end of the text that could still become a stop string.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""

    def push(self, piece: str) -> tuple[str, bool]:
        """(text that is safe to show, whether a stop string was met)."""
        if not self._stops:
            return piece, False
        text = self._held + piece
        met = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if met:
            self._held = ""
            return text[: min(met)], True
        keep = self._possible_prefix(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], False

    def flush(self) -> str:
        """What was held back, once it is certain that no stop string follows."""
        held, self._held = self._held, ""
        return held

    def _possible_prefix(self, text: str) -> int:
        longest = min(len(text), max(map(len, self._stops)) - 1)
        for length in range(longest, 0, -1):
            end = text[-length:]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0
