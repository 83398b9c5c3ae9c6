"""What the good examples of a file are like, gathered while it is read: counts, lengths, repeats, and odd examples."""

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from gateway.datasets.examples import Example
from gateway.datasets.fingerprints import Fingerprints
from gateway.datasets.lengths import Lengths
from gateway.datasets.one_example import Seen, see
from gateway.datasets.texts import bare
from gateway.datasets.tokens import CHARACTERS_A_TOKEN, MESSAGE_TOKENS, Sample, TokenCounter
from gateway.protocol.datasets import Tokens

SHOWN = 5
"""Lines that a finding names."""
LEAST_ANSWER = 24
"""Letters of an answer that is expected to be one of its kind: "yes" may come as often as it likes."""


Source = Literal["counted", "sampled", "estimated"]


@dataclass
class Mark:
    """Examples that have something in common."""

    count: int = 0
    lines: list[int] = field(default_factory=list[int])

    def add(self, line: int) -> None:
        self.count += 1
        if len(self.lines) < SHOWN:
            self.lines.append(line)


class Quality:
    """Add examples, then ask. Memory does not grow with their number."""

    def __init__(self, counter: TokenCounter, context_length: int | None = None) -> None:
        self.counter = counter
        self.context_length = context_length or counter.context_length
        self.examples = 0
        self.roles: Counter[str] = Counter()
        self.with_tools = 0
        self.marks: dict[str, Mark] = {}
        self.exact = Fingerprints()
        self.answers = Fingerprints()
        self._sample = Sample()
        self._lengths = Lengths()
        self._given = self._learnt = self._messages = 0
        self._longest: list[tuple[int, int]] = []

    def add(self, line: int, raw: bytes, example: Example) -> Seen:
        """One good example, from `raw`, the bytes of its line."""
        self.count(line, seen := see(raw, example))
        return seen

    def count(self, line: int, seen: Seen) -> None:
        """One example that was looked at already."""
        self.examples += 1
        self.roles.update(seen.roles)
        self.with_tools += 1 if seen.has_tools else 0
        for name in seen.marks:
            self.marks.setdefault(name, Mark()).add(line)
        self.exact.add((seen.given, seen.learnt), line)
        if len(bared := bare(seen.learnt)) >= LEAST_ANSWER:
            self.answers.add(bared, line)
        self._measure(line, seen)

    @property
    def repeated_answers(self) -> int:
        """Near duplicates: examples that repeat as a whole are counted elsewhere."""
        return max(0, self.answers.repeats - self.exact.repeats)

    def tokens(self) -> Tokens:
        """Lengths in tokens, of everything added so far."""
        sample = self._sample.examples
        given = self.counter.count([each.given for each in sample])
        learnt = self.counter.count([each.learnt for each in sample])
        if self._sample.is_whole and self.counter.is_real:
            frames = [each.messages * MESSAGE_TOKENS for each in sample]
            counted = Lengths()
            for each, *texts, frame in zip(sample, given, learnt, frames, strict=True):
                counted.add(round(sum(texts) * each.at_once) + frame)
            means = sum(given) / max(len(sample), 1), sum(learnt) / max(len(sample), 1)
            return self._tokens("counted", counted, 1.0, sum(given) + sum(learnt) + sum(frames), means)
        characters = sum(len(each.given) + len(each.learnt) for each in sample)
        scale = (sum(given) + sum(learnt)) / characters if characters else 1 / CHARACTERS_A_TOKEN
        total = round((self._given + self._learnt) * scale) + self._messages * MESSAGE_TOKENS
        means = self._given * scale / max(self.examples, 1), self._learnt * scale / max(self.examples, 1)
        return self._tokens("sampled" if self.counter.is_real else "estimated", self._lengths, scale, total, means)

    def over_long_lines(self, tokens: Tokens) -> list[int]:
        """Of the longest examples, when some do not fit."""
        return [line for _, line in sorted(self._longest, reverse=True)][: tokens.over_long]

    def _tokens(self, source: Source, lengths: Lengths, scale: float, total: int, means: tuple[float, float]) -> Tokens:
        limit = self.context_length
        return Tokens(
            source=source,
            total=total,
            mean_input=round(means[0], 1),
            mean_output=round(means[1], 1),
            shortest=round(lengths.shortest * scale),
            median=lengths.quantile(0.5, scale),
            p95=lengths.quantile(0.95, scale),
            longest=round(lengths.longest * scale),
            context_length=limit,
            over_long=lengths.above(limit, scale) if limit else 0,
            histogram=lengths.histogram(scale),
        )

    def _measure(self, line: int, seen: Seen) -> None:
        given, learnt = len(seen.given), len(seen.learnt)
        self._given += given
        self._learnt += learnt
        self._messages += seen.messages
        self._sample.add(seen.given, seen.learnt, seen.messages, seen.at_once)
        length = round((given + learnt) * seen.at_once + seen.messages * MESSAGE_TOKENS * CHARACTERS_A_TOKEN)
        self._lengths.add(length)
        if len(self._longest) < SHOWN:
            heapq.heappush(self._longest, (length, line))
        elif length > self._longest[0][0]:
            heapq.heapreplace(self._longest, (length, line))
