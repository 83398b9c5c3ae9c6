"""One answer in the making: tokens come in, text that is safe to show goes out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from trainer.engine.detokenize import Detokenizer, StopStrings
from trainer.engine.prompt_scores import Score
from trainer.engine.sampling import Options, Sampler, TokenLogprob
from trainer.engine.vocabulary import Vocabulary

FinishReason = Literal["stop", "length"]


@dataclass(slots=True)
class Piece:
    """What a choice adds to its answer."""

    index: int
    text: str
    completion_tokens: int
    """Of this choice so far, the end-of-sequence token included."""
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    prompt_scores: list[list[Score]] | None = None
    """Of the prompt's tokens after the first one, where they were asked for."""


@dataclass(eq=False, slots=True)
class Generation:
    """One request on the model thread: a prompt, and `n` choices to write.

    `deliver` is called on the event loop with the pieces of each step, or with the exception that ended it.
    """

    prompt_ids: list[int]
    adapter: str | None
    options: Options
    deliver: Callable[["list[Piece] | Exception"], None]
    n: int = 1
    first_index: int = 0
    streaming: bool = True
    """False delivers one piece for each choice, at its end."""
    cancelled: bool = False
    prompt_scores: list[list[Score]] | None = None
    """There once the prompt is read, where they are asked for."""


class Choice:
    """One row of a batch."""

    def __init__(self, generation: Generation, index: int, vocabulary: Vocabulary, vocab_size: int) -> None:
        options = generation.options
        self.generation = generation
        self.index = generation.first_index + index
        self.sampler = Sampler(options, index, generation.prompt_ids, vocab_size)
        self.last_token = generation.prompt_ids[-1]
        self.finished = False
        self._count = 0
        self._text: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._detokenizer = Detokenizer(vocabulary.decode, generation.prompt_ids)
        self._stops = StopStrings(options.stop)
        self._ends = frozenset() if options.ignore_eos else options.stop_ids

    def accept(self, token: int, logprob: TokenLogprob | None) -> Piece | None:
        """Adds a token; a Piece when there is something to send."""
        self.last_token = token
        self._count += 1
        reason = self._read(token, logprob)
        if reason is not None:
            self.finished = True
            return self._piece(reason)
        if self.generation.streaming and any(self._text):
            return self._piece(None)
        return None

    def _read(self, token: int, logprob: TokenLogprob | None) -> FinishReason | None:
        if token in self._ends:
            self._text.append(self._stops.flush())
            return "stop"
        if logprob is not None:
            self._logprobs.append(logprob)
        text, stopped = self._stops.push(self._detokenizer.push(token))
        self._text.append(text)
        if stopped:
            return "stop"
        if self._count < self.generation.options.max_tokens:
            return None
        self._text.append(self._stops.flush())
        return "length"

    def _piece(self, reason: FinishReason | None) -> Piece:
        scores = self.generation.prompt_scores
        piece = Piece(self.index, "".join(self._text), self._count, self._logprobs, reason, scores)
        self._text, self._logprobs = [], []
        return piece


def choices_of(generation: Generation, vocabulary: Vocabulary, vocab_size: int) -> list[Choice]:
    return [Choice(generation, index, vocabulary, vocab_size) for index in range(generation.n)]
