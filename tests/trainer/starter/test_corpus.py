"""The text of the starter model, and the demo's data against it. No torch needed."""

import json
import random
import re
from pathlib import Path

import pytest

from deploy.demo import make_data
from trainer.starter import corpus, slots

DATA = Path(__file__).parents[3] / "deploy" / "demo" / "data"
CHATS = 20_000


def words(text: str) -> str:
    """Lower case, without marks: how two questions are compared."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def lines(name: str) -> list[tuple[str, str]]:
    """(question, answer) of each line of a demo file."""
    chats = [json.loads(line)["messages"] for line in (DATA / name).read_text().splitlines()]
    return [(chat[-2]["content"], chat[-1]["content"]) for chat in chats]


@pytest.fixture(scope="module")
def text() -> set[str]:
    """Every message of many chats, and every template."""
    sampled = {words(message["content"]) for chat in corpus.sample(7, CHATS) for message in chat}
    groups = [group for name in corpus.SHARES for group in corpus.read_groups(name)]
    return sampled | {words(question) for group in groups for question in group.questions}


class TestCorpus:
    def test_a_seed_gives_the_same_chats(self) -> None:
        assert corpus.sample(3, 200) == corpus.sample(3, 200)

    def test_another_seed_gives_other_chats(self) -> None:
        assert corpus.sample(3, 200) != corpus.sample(4, 200)

    def test_every_slot_is_filled(self) -> None:
        assert not [chat for chat in corpus.sample(0, 5_000) for message in chat if set("{}") & set(message["content"])]

    def test_every_group_has_questions_and_answers(self) -> None:
        groups = [group for name in corpus.SHARES for group in corpus.read_groups(name)]
        assert all(group.questions and group.answers for group in groups)
        assert all(group.topic for group in corpus.read_groups("support"))

    def test_turns_alternate_and_end_with_the_assistant(self) -> None:
        for chat in corpus.sample(5, 2_000):
            roles = [message["role"] for message in chat if message["role"] != "system"]
            assert roles == ["user", "assistant"] * (len(roles) // 2)

    def test_slots_of_one_row_agree(self) -> None:
        capitals = {row["country"]: row["capital"] for row in slots.tables()["country"]}
        rng = random.Random(0)
        pairs = [slots.fill(rng, "{country}", "{capital}") for _ in range(100)]
        assert all(capitals[country] == capital for country, capital in pairs)

    def test_an_before_a_vowel(self) -> None:
        rng = random.Random(0)
        filled = {slots.fill(rng, "a {fruit}")[0] for _ in range(200)}
        assert {"an apple", "a banana"} <= filled


class TestDemoData:
    def test_heldout_questions_are_not_trained_on(self) -> None:
        trained = {words(question) for name in ("training", "validation") for question, _ in lines(f"{name}.jsonl")}
        assert not trained & {words(question) for question, _ in lines("heldout.jsonl")}

    def test_every_heldout_answer_is_trained(self) -> None:
        answers = {answer for _, answer in lines("training.jsonl")}
        assert {answer for _, answer in lines("heldout.jsonl")} == answers

    def test_the_corpus_holds_no_heldout_question_and_no_answer(self, text: set[str]) -> None:
        asked = {words(question) for question, _ in lines("heldout.jsonl")}
        answered = {words(answer) for _, answer in lines("heldout.jsonl")}
        assert not asked & text
        assert not [message for message in text if any(answer in message for answer in answered)]

    def test_the_corpus_holds_every_word_of_the_answers(self, text: set[str]) -> None:
        seen = {word for message in text for word in message.split()}
        assert not {word for _, answer in lines("training.jsonl") for word in words(answer).split()} - seen

    def test_the_files_are_what_the_script_writes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(make_data, "DATA", tmp_path)
        make_data.main()
        for name in make_data.FILES.values():
            assert (tmp_path / name).read_bytes() == (DATA / name).read_bytes()
