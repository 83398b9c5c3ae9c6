"""Pitfalls 10 and 15 of building datasets: what is alike is on one side of the split, and no personal data is left.

Without a database: candidates as selection leaves them in a workplace.
"""

import itertools
import json
import random
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.datasets.building.candidate import Candidate
from gateway.datasets.building.clean import Cleaned, clean
from gateway.datasets.building.selection import Ground
from gateway.datasets.building.tally import Tally
from gateway.datasets.building.workplace import Workplace
from gateway.datasets.building.writing import write_files
from gateway.datasets.cleaning.exports import export
from gateway.datasets.cleaning.shingles import shingles, similarity
from gateway.datasets.tokens import TokenCounter
from gateway.datasets.validation import Interrupted
from gateway.errors import InvalidRequest
from gateway.protocol.dataset_versions import EXPORT_FORMATS
from gateway.protocol.recipes import Recipe
from judges.personal_data import find
from tests.gateway.datasets.building.world import recipe
from tests.gateway.datasets.cleaning.test_near import prompts, word
from tests.gateway.datasets.cleaning.test_redaction import PLANTED
from tests.gateway.datasets.cleaning.test_redaction import line as planted_line
from tests.gateway.datasets.files import jsonl

KEY = b"a dataset's own key"
NOTHING: Any = None
numbers = itertools.count(10**6)


def row(question: str, answer: str = "", **fields: Any) -> Candidate:
    """One whose conversation and answer are its own, unless they are told."""
    number = next(numbers)
    answer = answer or " ".join(prompts(1, seed=number, words=12)[0])
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    known: dict[str, Any] = {
        "kind": "sft", "line": {"messages": messages}, "question": question, "answer": answer,
        "conversation": f"conversation {number}", "exchange_id": f"req_{number}", "signal": "human",
    }  # fmt: skip
    return Candidate(**known | fields)


def question(seed: int, words: int = 30) -> str:
    return " ".join(prompts(1, seed=seed, words=words)[0])


class Bench:
    """A build from candidates on."""

    def __init__(self, place: Path, wanted: Recipe, candidates: Sequence[Candidate]) -> None:
        self.work = Workplace(place, "dsver_1")
        self.ground = Ground(NOTHING, wanted, self.work, Tally(), NOTHING, NOTHING)
        self.work.add(candidates)
        self.stop = threading.Event()

    def clean(self, *suites: Path) -> Cleaned:
        cleaned = clean(self.ground, KEY, suites, self.stop)
        cleaned.split()
        return cleaned

    @property
    def kept(self) -> list[int]:
        return [number for (number,) in self.work.db.execute("SELECT number FROM kept ORDER BY number")]

    @property
    def dropped(self) -> dict[str, int]:
        return {name: reason.count for name, reason in self.ground.tally.reasons.items()}

    def column(self, name: str) -> list[str]:
        return [value for (value,) in self.work.db.execute(f"SELECT {name} FROM kept ORDER BY number")]


@contextmanager
def bench(place: Path, candidates: Sequence[Candidate], **fields: Any) -> Generator[Bench]:
    made = Bench(place, recipe(**fields), candidates)
    try:
        yield made
    finally:
        made.work.close()


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    items = [{"item": {"question": question(500), "expected": "Lisbon"}}, {"question": "What is the capital of Peru?"}]
    (tmp_path / "suite.jsonl").write_bytes(jsonl(*items))
    return tmp_path / "suite.jsonl"


class TestDuplicates:
    def test_the_same_but_for_signs_is_there_once(self, tmp_path: Path) -> None:
        rows = [row("How tall is it?", "Very tall, Sir."), row(" how TALL is it", "very tall; sir")]
        with bench(tmp_path, rows) as made:
            made.clean()
            assert (made.kept, made.dropped) == ([0], {"duplicate": 1})

    def test_nearly_the_same_is_there_once(self, tmp_path: Path) -> None:
        asked, answer = question(1, 60), question(2, 60)
        with bench(tmp_path, [row(asked, answer), row(asked, f"{answer} Bye.")]) as made:
            made.clean()
            assert (made.kept, made.dropped) == ([0], {"near_duplicate": 1})

    @pytest.mark.parametrize("other", ["How tall is it?", "How tall is it??"])
    def test_the_strongest_signal_stays(self, tmp_path: Path, other: str) -> None:
        rows = [row("How tall is it?", "Very.", signal="unjudged"), row(other, "Very!", signal="edit")]
        with bench(tmp_path, rows) as made:
            made.clean()
            assert made.kept == [1]

    def test_another_answer_is_another_row(self, tmp_path: Path) -> None:
        asked = question(1, 200)
        with bench(tmp_path, [row(asked, "positive"), row(asked, "negative")]) as made:
            made.clean()
            assert made.kept == [0, 1]

    def test_another_rejected_answer_is_another_pair(self, tmp_path: Path) -> None:
        pairs = [
            row("How?", "So it is done.", kind="preference", rejected=text) for text in ("Not at all.", "In no way.")
        ]
        with bench(tmp_path, pairs, kind="preference") as made:
            made.clean()
            assert made.kept == [0, 1]

    def test_both_can_be_left_alone(self, tmp_path: Path) -> None:
        rows = [row("How tall is it?", "Very."), row("How tall is it?", "Very.")]
        with bench(tmp_path, rows, duplicates={"exact": False, "near": False}) as made:
            made.clean()
            assert made.kept == [0, 1]


class TestClusters:
    def test_alike_questions_conversations_and_nothing_else_are_together(self, tmp_path: Path) -> None:
        asked = question(1)
        rows = [
            row(asked),
            row(f"{asked} indeed"),
            row(question(2), conversation="c"),
            row(question(3), conversation="c"),
        ]
        with bench(tmp_path, [*rows, row(question(4), end_user="u"), row(question(5), end_user="u")]) as made:
            made.clean()
            one, two, three, four, five, six = made.column("cluster")
            assert (one == two, three == four) == (True, True)
            assert len({one, three, five, six}) == 4

    def test_of_one_user_where_that_is_wanted(self, tmp_path: Path) -> None:
        rows = [
            row(question(seed), end_user=user) for seed, user in ((1, "u"), (2, "v"), (3, "u"), (4, None), (5, None))
        ]
        with bench(tmp_path, rows, split={"by": ["user"]}) as made:
            made.clean()
            clusters = made.column("cluster")
            assert clusters[0] == clusters[2]
            assert len(set(clusters)) == 4

    def test_through_others(self, tmp_path: Path) -> None:
        asked = question(1)
        rows = [row(asked, conversation="c"), row(question(2), conversation="c"), row(question(2), conversation="d")]
        with bench(tmp_path, rows) as made:
            made.clean()
            assert len(set(made.column("cluster"))) == 1

    def test_questions_without_letters(self, tmp_path: Path) -> None:
        with bench(tmp_path, [row("?!"), row("\U0001f44d"), row("\U0001f44d"), row(""), row("")]) as made:
            made.clean()
            one, two, three, four, five = made.column("cluster")
            assert two == three
            assert len({one, two, four, five}) == 4

    def test_keep_their_names_and_their_side_when_others_come(self, tmp_path: Path) -> None:
        rows = [row(question(seed)) for seed in range(200)]
        more = [row(question(seed)) for seed in range(200, 260)] + [row(question(3) + " indeed")]
        sides: list[dict[str, str]] = []
        for candidates in (rows, [*rows, *more]):
            with bench(tmp_path, candidates, split={"validation": 0.2}) as made:
                made.clean()
                sides.append(dict(zip(made.column("cluster"), made.column("split"), strict=True)))
        before, after = sides
        assert len(before) == 200
        assert {name: after[name] for name in before} == before
        assert 20 <= list(before.values()).count("validation") <= 60

    def test_nothing_is_left(self, tmp_path: Path) -> None:
        with bench(tmp_path, []) as made:
            made.clean()
            assert made.kept == []

    def test_numbers_with_gaps(self, tmp_path: Path) -> None:
        rows = [row(question(seed)) for seed in range(6)]
        with bench(tmp_path, [*rows, row(question(5))]) as made:
            made.work.drop([0, 2, 4], "vetoed")
            made.clean()
            clusters = dict(zip(made.kept, made.column("cluster"), strict=True))
            assert clusters[5] == clusters[6]
            assert len(set(clusters.values())) == 3


CHANGES = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.booleans()), min_size=1, max_size=4)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.lists(CHANGES, min_size=5, max_size=15), st.sampled_from([0.5, 0.7]), st.randoms(use_true_random=False))
def test_nothing_alike_is_on_both_sides(
    tmp_path_factory: pytest.TempPathFactory, families: list[Any], threshold: float, source: random.Random
) -> None:
    """Copies with up to four words changed, in capitals, spaced and with numbers, and turns of one conversation."""
    rows: list[Candidate] = []
    for family, copies in enumerate(families):
        original = prompts(1, seed=source.randrange(10**6))[0]
        for words, shouted, numbered in copies:
            copy = list(original)
            for place in source.sample(range(len(copy)), words):
                copy[place] = word(source)
            text = "  ".join(copy) + (f" {source.randrange(1000)}!" if numbered else "")
            conversation = {"conversation": f"of {family // 3}"} if source.random() < 0.2 else {}
            rows.append(row(text.upper() if shouted else text, **conversation))
    wanted = {"split": {"validation": 0.4, "threshold": threshold}, "duplicates": {"near": False}}
    with bench(tmp_path_factory.mktemp("split"), rows, **wanted) as made:
        made.clean()
        sides = dict(zip(made.kept, made.column("split"), strict=True))
        sets = {number: shingles(rows[number].question) for number in sides}
        for one, other in itertools.combinations(sides, 2):
            if sides[one] != sides[other]:
                assert similarity(sets[one], sets[other]) < threshold
                assert rows[one].conversation != rows[other].conversation


class TestContamination:
    def kept(self, place: Path, suite: Path, *rows: Candidate, **fields: Any) -> list[int]:
        with bench(place, rows, **fields) as made:
            made.clean(suite)
            assert made.dropped.get("contaminated", 0) == len(rows) - len(made.kept)
            return made.kept

    def test_the_same_question(self, tmp_path: Path, suite: Path) -> None:
        rows = [row("what is the capital of PERU"), row("What is the capital of Portugal, and why is it there?")]
        assert self.kept(tmp_path, suite, *rows) == [1]

    def test_nearly_the_same_question(self, tmp_path: Path, suite: Path) -> None:
        copy = question(500).split()
        for place in (3, 11, 19, 27):
            copy[place] = "zyx"
        assert self.kept(tmp_path, suite, row(" ".join(copy)), row(question(501))) == [1]

    def test_twelve_words_in_a_row_of_an_answer(self, tmp_path: Path, suite: Path) -> None:
        part = question(500).split()[5:]
        twelve, eleven = (f"{question(7)} {' '.join(part[:count])} {question(8)}" for count in (12, 11))
        assert self.kept(tmp_path, suite, row(question(1), twelve), row(question(2), eleven)) == [1]

    def test_a_turn_in_the_middle(self, tmp_path: Path, suite: Path) -> None:
        turns = [question(20), "Sure.", "What is the capital of Peru?", "Lima.", question(21), "Good."]
        messages = [
            {"role": role, "content": turn} for role, turn in zip(["user", "assistant"] * 3, turns, strict=True)
        ]
        candidate = row("\n".join(turns[:-1]), line={"messages": messages})
        assert self.kept(tmp_path, suite, candidate, row(question(22))) == [1]

    def test_short_texts_of_a_suite_are_labels(self, tmp_path: Path, suite: Path) -> None:
        assert self.kept(tmp_path, suite, row("Lisbon"), row("Lisbon?", "Lisbon")) == [0, 1]

    def test_items_that_are_there_once_a_run_are_no_template(self, tmp_path: Path) -> None:
        items = [{"text": question(seed)} for seed in range(600, 610)]
        (tmp_path / "suite.jsonl").write_bytes(jsonl(*items, *items, *reversed(items)))
        twelve = " ".join(question(604).split()[5:17])
        candidate = row(question(1), f"{question(7)} {twelve} {question(8)}")
        assert self.kept(tmp_path, tmp_path / "suite.jsonl", candidate, row(question(2))) == [1]

    def test_the_template_of_a_suite_says_nothing(self, tmp_path: Path) -> None:
        template = "You are given a text of a customer, and you say in one word how the customer feels about it: "
        items = [{"text": template + question(seed, 40)} for seed in range(600, 640)]
        (tmp_path / "suite.jsonl").write_bytes(jsonl(*items))
        other, known = (row(template + question(seed, 40)) for seed in (700, 610))
        assert self.kept(tmp_path, tmp_path / "suite.jsonl", other, known) == [0]

    def test_pairs(self, tmp_path: Path, suite: Path) -> None:
        asked = "What is the capital of Peru?"
        line = {
            "input": {"messages": [{"role": "user", "content": asked}]},
            "preferred_output": [{"role": "assistant", "content": "Lima."}],
            "non_preferred_output": [{"role": "assistant", "content": "Cusco."}],
        }
        assert self.kept(tmp_path, suite, row(asked, kind="preference", line=line), kind="preference") == []

    def test_a_suite_that_cannot_be_read_does_not_pass_for_clean(self, tmp_path: Path, suite: Path) -> None:
        suite.write_bytes(jsonl({"question": question(1)}) + b"no json\n")
        with bench(tmp_path, [row(question(2))]) as made, pytest.raises(InvalidRequest, match="Line 2"):
            made.clean(suite)

    def test_an_empty_suite(self, tmp_path: Path, suite: Path) -> None:
        suite.write_bytes(b"\n")
        assert self.kept(tmp_path, suite, row(question(2))) == [0]


class TestRedaction:
    """Pitfall 15: nothing that was planted is in any export."""

    def rows(self) -> list[Candidate]:
        said = " ".join(PLANTED)
        told = {"role": "assistant", "content": f"Edited by a person: {said}"}
        pair = {
            "input": {"messages": [{"role": "user", "name": PLANTED[0], "content": f"Who is {said}?"}]},
            "preferred_output": [told],
            "non_preferred_output": [{"role": "assistant", "content": f"No idea: {said}"}],
        }
        return [row("x", line=planted_line()), row("y", line=pair, kind="preference")]

    @pytest.mark.parametrize(("place", "kind"), [(0, "sft"), (1, "preference")])
    def test_nothing_that_was_planted_is_in_any_export(self, tmp_path: Path, place: int, kind: str) -> None:
        with bench(tmp_path, [self.rows()[place]], kind=kind) as made:
            cleaned = made.clean()
            written = write_files(made.ground, cleaned.redact, TokenCounter(None), made.stop)
            assert written.files["training"].lines == 1
            assert cleaned.redacted["email"] >= 3
            for format in EXPORT_FORMATS:
                export(written.files["training"].path, tmp_path / "export", format)
                raw = (tmp_path / "export").read_bytes()
                assert [each for each in PLANTED if each.encode() in raw] == []
                if format != "parquet":
                    assert find(raw.decode()) == []

    def test_the_recipe_says_which_kinds_and_which_country(self, tmp_path: Path) -> None:
        text = "ann@example.com 203.0.113.7 call 030 901820"
        outcomes = []
        for wanted in ({"kinds": ["email"]}, {"kinds": ["phone"], "region": "DE"}, {"kinds": ["phone"]}):
            with bench(tmp_path, [row(text)], redaction=wanted) as made:
                outcomes.append(made.clean().redact(made.work.candidate(0).line)["messages"][0]["content"])
        assert outcomes[0].startswith("[EMAIL_")
        assert outcomes[0].endswith("203.0.113.7 call 030 901820")
        assert outcomes[1].startswith("ann@example.com 203.0.113.7 call [PHONE_")
        assert outcomes[2] == text

    def test_a_version_has_the_same_placeholders_as_the_one_before(self, tmp_path: Path) -> None:
        lines = []
        for _ in range(2):
            with bench(tmp_path, [row("ann@example.com")]) as made:
                lines.append(json.dumps(made.clean().redact(made.work.candidate(0).line)["messages"][0]))
        assert lines[0] == lines[1]


class TestStop:
    def test_ends_soon(self, tmp_path: Path) -> None:
        with bench(tmp_path, [row(question(1)), row(question(2))]) as made:
            made.stop.set()
            with pytest.raises(Interrupted):
                made.clean()
