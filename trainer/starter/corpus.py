"""The text that the starter model is trained on: short chats, composed from the word lists and templates in text/.

Nothing here was downloaded. text/words.txt holds tables, the other files hold groups of questions and answers with
{slots}; `chats(seed)` fills them. The same seed gives the same chats for ever, on every machine.
"""

import itertools
import pathlib
import random
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from trainer.starter import slots

TEXT = pathlib.Path(__file__).parent / "text"

Message = dict[str, str]

SHARES = {"small_talk": 0.2, "copying": 0.25, "knowledge": 0.25, "support": 0.3}
"""How often a turn comes from which file."""

OPENERS = ("Hello! ", "Hello, ", "Hi! ", "Hi, ", "Good morning! ", "A question: ", "Can you help me? ", "Please help. ")
CLOSERS = (" Thanks!", " Thank you.", " Please help.", " Please.")
ASKING = re.compile(
    r"(what|which|who|whose|whom|where|when|why|how|is|are|am|do|does|did|can|could|may|should|must|will|at which|"
    r"in which|in what|to which|to whom|from when|from which|until when|since when|for how|by when)\b"
)


class Group(NamedTuple):
    """Questions and answers that fit each other; `topic` is the heading above them, if there is one."""

    topic: str
    questions: tuple[str, ...]
    answers: tuple[str, ...]


def chats(seed: int) -> Iterator[list[Message]]:
    """Yields chats without end, as OpenAI messages."""
    rng = random.Random(seed)  # noqa: S311 - not a secret
    groups = {name: read_groups(name) for name in SHARES}
    while True:
        if rng.random() < 0.2:
            yield desk_chat(rng, groups["support"])
        else:
            yield plain_chat(rng, groups)


def plain_chat(rng: random.Random, groups: dict[str, list[Group]]) -> list[Message]:
    """A few turns that do not depend on each other, sometimes after a system message."""
    messages = [] if rng.random() < 0.7 else [_message("system", persona(rng))]
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        [name] = rng.choices(list(SHARES), list(SHARES.values()))
        messages += one_turn(rng, name, rng.choice(groups[name]))
    return messages


def persona(rng: random.Random) -> str:
    """A system message without facts."""
    return slots.fill(rng, rng.choice(("{persona}", "You are the support desk of {company}.")))[0]


def one_turn(rng: random.Random, name: str, group: Group) -> list[Message]:
    """One question of the group, from the file of that name, with its answer."""
    if name == "support":
        return unanswered(rng, group)
    question, answer = slots.fill(rng, rng.choice(group.questions), rng.choice(group.answers))
    return [_message("user", asked(rng, question)), _message("assistant", sentence_case(answer))]


def unanswered(rng: random.Random, group: Group) -> list[Message]:
    """A question to a support desk that was told nothing: the answer names the topic and no fact."""
    [question] = slots.fill(rng, rng.choice(group.questions))
    return [_message("user", asked(rng, question)), _message("assistant", unknown(group))]


def unknown(group: Group) -> str:
    """The answer where no fact is at hand."""
    return f"Sorry, I do not know anything about {group.topic} yet."


def desk_chat(rng: random.Random, topics: list[Group]) -> list[Message]:
    """A support desk whose system message holds a fact or two, asked about one of them or about another topic."""
    *told, other = rng.sample(topics, rng.choice((2, 3)))
    facts = {group: slots.fill(rng, rng.choice(group.answers))[0] for group in told}
    head = slots.fill(rng, "You are the support desk of {company}.")[0]
    messages = [_message("system", " ".join([head, *map(sentence_case, facts.values())]))]
    if rng.random() < 0.2:
        return messages + unanswered(rng, other)
    group = rng.choice(told)
    [question] = slots.fill(rng, rng.choice(group.questions))
    return [*messages, _message("user", asked(rng, question)), _message("assistant", sentence_case(facts[group]))]


def asked(rng: random.Random, question: str) -> str:
    """The question as a person may type it: with capitals and marks, without them, or with words around it."""
    style = rng.random()
    if style < 0.2:
        return question
    mark = "" if question[-1] in ".?!" else "?" if ASKING.match(question) else "."
    typed = sentence_case(re.sub(r"\bi\b", "I", question)) + mark
    if style < 0.75 or question.count(" ") < 2:
        return typed
    return rng.choice(OPENERS) + typed if style < 0.9 else typed + rng.choice(CLOSERS)


def sentence_case(text: str) -> str:
    """With its first letter as a capital."""
    return text[:1].upper() + text[1:]


def read_groups(name: str) -> list[Group]:
    """The groups of text/<name>.txt."""
    text = (TEXT / f"{name}.txt").read_text(encoding="utf-8")
    blocks = [[line for line in block.splitlines() if not line.startswith("#")] for block in text.split("\n\n")]
    return [_group(lines) for lines in blocks if lines]


def sample(seed: int, count: int) -> list[list[Message]]:
    """The first `count` chats of a seed."""
    return list(itertools.islice(chats(seed), count))


def _group(lines: Sequence[str]) -> Group:
    topic = lines[0].strip("[]") if lines[0].startswith("[") else ""
    questions = tuple(line[2:] for line in lines if line.startswith("? "))
    return Group(topic, questions, tuple(line[2:] for line in lines if line.startswith("= ")))


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}
