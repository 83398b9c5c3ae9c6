"""Bodies and stream chunks on the wire, fields in OpenAI's order."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from trainer.engine.choice import FinishReason, Piece
from trainer.engine.sampling import TokenLogprob
from trainer.engine.vocabulary import Vocabulary

encode = msgspec.json.Encoder().encode

DONE = b"data: [DONE]\n\n"

LONGEST_CHARACTER = 4
"""Tokens that may have begun a character, as vLLM looks back: one for each of its bytes."""


class PromptTokensDetails(msgspec.Struct, frozen=True):
    cached_tokens: int = 0


class Usage(msgspec.Struct):
    """Tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails = PromptTokensDetails()


class TopLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int]


class ChatLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChatLogprobs(msgspec.Struct):
    content: list[ChatLogprob]
    refusal: None = None


class AnswerMessage(msgspec.Struct):
    role: Literal["assistant"]
    content: str
    refusal: None = None


class Delta(msgspec.Struct):
    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET


class ChatChoice(msgspec.Struct):
    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None


class ChunkChoice(msgspec.Struct):
    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None


class TextLogprobs(msgspec.Struct):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class PromptLogprob(msgspec.Struct):
    """vLLM's."""

    logprob: float
    rank: int
    decoded_token: str


class TextChoice(msgspec.Struct):
    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: FinishReason | None
    prompt_logprobs: list[dict[int, PromptLogprob] | None] | UnsetType = UNSET
    """By token id: the prompt's own token first. None for the first token, before which there is nothing."""


class Reply(msgspec.Struct):
    """Every body and every chunk: `usage` is absent, null or filled, as the call asks."""

    id: str
    object: str
    created: int
    model: str
    choices: list[Any]
    usage: Usage | UnsetType | None = UNSET


class ModelCard(msgspec.Struct, kw_only=True):
    """vLLM's: an adapter's `parent` is its base and its `root` is where it was loaded from."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "tuneway"
    root: str
    parent: str | None
    max_model_len: int


class ModelList(msgspec.Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[ModelCard]


class ChatWriter:
    """Writes the choices of a chat completion."""

    body, chunk, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl-"

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def first(self, index: int) -> ChunkChoice | None:
        return ChunkChoice(index, Delta(role="assistant", content=""), None, None)

    def during(self, piece: Piece) -> Iterable[ChunkChoice]:
        """Text first, then the reason on its own with an empty delta."""
        if piece.text or piece.logprobs:
            yield ChunkChoice(piece.index, Delta(content=piece.text), self._logprobs(piece.logprobs), None)
        if piece.finish_reason is not None:
            yield ChunkChoice(piece.index, Delta(), None, piece.finish_reason)

    def whole(self, piece: Piece, *, logprobs: bool) -> ChatChoice:
        reported = self._logprobs(piece.logprobs) or (ChatLogprobs([]) if logprobs else None)
        return ChatChoice(piece.index, AnswerMessage("assistant", piece.text), reported, piece.finish_reason)

    def _logprobs(self, tokens: list[TokenLogprob]) -> ChatLogprobs | None:
        return ChatLogprobs([self._logprob(token) for token in tokens]) if tokens else None

    def _logprob(self, entry: TokenLogprob) -> ChatLogprob:
        top = [self._top(token, logprob) for token, logprob in entry.top]
        text, raw = self._token(entry.token)
        return ChatLogprob(text, finite(entry.logprob), raw, top)

    def _top(self, token: int, logprob: float) -> TopLogprob:
        text, raw = self._token(token)
        return TopLogprob(text, finite(logprob), raw)

    def _token(self, token: int) -> tuple[str, list[int]]:
        raw = self._vocabulary.token_bytes(token)
        return raw.decode(errors="replace"), list(raw)


class TextWriter:
    """Writes the choices of a text completion."""

    body, chunk, prefix = "text_completion", "text_completion", "cmpl-"

    def __init__(self, vocabulary: Vocabulary, echoes: Mapping[int, str]) -> None:
        self._vocabulary = vocabulary
        self._echoes = echoes
        """Choice index -> the prompt to repeat before its answer."""
        self._offsets = {index: len(echo) for index, echo in echoes.items()}

    def first(self, index: int) -> TextChoice | None:
        return TextChoice(index, self._echoes[index], None, None) if index in self._echoes else None

    def during(self, piece: Piece) -> Iterable[TextChoice]:
        if piece.text or piece.logprobs or piece.finish_reason is not None:
            yield TextChoice(piece.index, piece.text, self._logprobs(piece), piece.finish_reason)

    def whole(self, piece: Piece, *, logprobs: bool) -> TextChoice:
        reported = self._logprobs(piece) or (TextLogprobs([], [], [], []) if logprobs else None)
        text = self._echoes.get(piece.index, "") + piece.text
        return TextChoice(piece.index, text, reported, piece.finish_reason, self._of_prompt(piece))

    def _of_prompt(self, piece: Piece) -> list[dict[int, PromptLogprob] | None] | UnsetType:
        if piece.prompt_scores is None:
            return UNSET
        written: list[dict[int, PromptLogprob] | None] = [None]
        for at, scores in enumerate(piece.prompt_scores):
            # vLLM does not look at the very first token of a prompt either.
            before = [entry[0].token for entry in piece.prompt_scores[max(0, at - LONGEST_CHARACTER) : at]]
            # A token among the most probable ones has its place there as its rank.
            written.append(
                {
                    score.token: PromptLogprob(
                        finite(score.logprob), score.rank, self._vocabulary.piece(score.token, before)
                    )
                    for score in scores
                }
            )
        return written

    def _logprobs(self, piece: Piece) -> TextLogprobs | None:
        if not piece.logprobs:
            return None
        report = TextLogprobs([], [], [], [])
        offset = self._offsets.get(piece.index, 0)
        for entry in piece.logprobs:
            token = self._text(entry.token)
            report.tokens.append(token)
            report.token_logprobs.append(finite(entry.logprob))
            top = {self._text(other): finite(logprob) for other, logprob in entry.top}
            report.top_logprobs.append({**top, token: finite(entry.logprob)})
            report.text_offset.append(offset)
            offset += len(token)
        self._offsets[piece.index] = offset
        return report

    def _text(self, token: int) -> str:
        return self._vocabulary.token_bytes(token).decode(errors="replace")


def finite(logprob: float) -> float:
    """OpenAI writes -9999.0 for "outside of everything"; JSON has no minus infinity."""
    return max(logprob, -9999.0)


def usage_of(prompt_tokens: int, completion_tokens: int) -> Usage:
    return Usage(prompt_tokens, completion_tokens, prompt_tokens + completion_tokens)


def frame(body: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + encode(body) + b"\n\n"
