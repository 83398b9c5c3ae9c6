"""python -m gateway.rule_process: holds answers against rules, one after the other, for gateway/rule_processes.py.

Standard input brings questions and standard output takes the verdicts: frames of four bytes of length (big endian) and
msgpack. An empty frame says that everything is loaded. It ends with its parent, whose end of the pipe is gone then.
"""

import resource
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import BinaryIO

from gateway.exchanges.assemble import assemble
from gateway.exchanges.checked import RuleSaid
from gateway.exchanges.subjects import MOST_CHOICES, subject
from gateway.rule_frames import Question, Said, decode_question, encode_said
from judges.rules import schemas
from judges.rules.detection import language_of
from judges.rules.run import RuleVerdict, check, overall
from judges.rules.written import AnyRule, decode
from judges.subject import Subject
from judges.text_similarity import similarity

MEMORY_BYTES = 2 * 1024**3
"""Of address space."""
LONGEST_REASON = 2000
UNREADABLE = Said(index=0, rationale="The call or its reply cannot be read as a chat.", error_code="unreadable")


def main() -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):  # macOS knows the limit by name only
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    language_of("The model behind this is read at the first text.")
    for metric in ("bleu", "fuzzy_match", "meteor"):  # and what these need is imported then
        similarity(metric, "a text", "another text")
    schemas.problem({})
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    _write(answers, b"")
    with suppress(BrokenPipeError):
        for question in _frames(questions):
            _write(answers, encode_said(answer(question)))
    return 0


def answer(frame: bytes) -> list[Said]:
    """What the rules say of each choice."""
    question = decode_question(frame)
    signal.setitimer(signal.ITIMER_PROF, question.cpu_seconds)  # the kernel's, and SIGPROF ends what takes no signals
    try:
        return _all(question) or [UNREADABLE]
    except Exception as error:  # noqa: BLE001 as in `_said`
        return [_fault(question.choice or 0, error)]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _all(question: Question) -> list[Said]:
    reply = assemble(question.reply) if question.streamed else question.reply
    rules = _rules(question.rules)
    wanted = range(MOST_CHOICES) if question.choice is None else (question.choice,)
    return [_said(rules, index, each) for index, each in _choices(question.request, reply, wanted)]


@lru_cache(maxsize=256)
def _rules(written: bytes) -> list[AnyRule]:
    return decode(written)


def _choices(request: bytes, reply: bytes, wanted: Iterable[int]) -> Iterator[tuple[int, Subject]]:
    for index in wanted:
        if (each := subject(request, reply, index)) is None:
            return
        yield index, each


def _said(rules: list[AnyRule], index: int, of: Subject) -> Said:
    try:
        verdicts = check(rules, of)
    except Exception as error:  # noqa: BLE001 a fault of ours on one answer: the next one must be checked, too
        return _fault(index, error)
    found = overall(verdicts)
    return Said(
        index=index,
        passed=found.passed,
        score=found.score,
        rationale=_plain(found.rationale),
        said=[_told(each) for each in verdicts],
        error_code="rule" if found.passed is None else None,
    )


def _fault(index: int, error: Exception) -> Said:
    sys.stderr.write(f"a rule failed: {error!r}\n")
    return Said(index=index, rationale="A fault of the rules; the log of the gateway says more.", error_code="fault")


def _told(each: RuleVerdict) -> RuleSaid:
    return RuleSaid(rule=each.rule, passed=each.passed, score=each.score, found=each.found)


def _plain(text: str) -> str:
    """What the database and UTF-8 take."""
    return text[:LONGEST_REASON].replace("\x00", "\ufffd").encode(errors="replace").decode()


def _frames(stream: BinaryIO) -> Iterator[bytes]:
    """Until the other end is closed."""
    while len(head := stream.read(4)) == 4:
        yield stream.read(int.from_bytes(head))


def _write(stream: BinaryIO, frame: bytes) -> None:
    stream.write(len(frame).to_bytes(4) + frame)
    stream.flush()


if __name__ == "__main__":
    sys.exit(main())
