import random
from datetime import UTC, datetime, timedelta

from gateway.fine_tuning.turns import Waiting, in_order, next_turn

START = datetime(2026, 11, 21, tzinfo=UTC)


def waiting(*projects: str) -> list[Waiting]:
    """Jobs `a0`, `b1`, ... in the order of their creation."""
    return [
        Waiting(job_id=f"{project}{number}", project_id=project, created_at=START + timedelta(seconds=number))
        for number, project in enumerate(projects)
    ]


def ids(order: list[Waiting]) -> list[str]:
    return [job.job_id for job in order]


class TestNextTurn:
    def test_nothing_waits(self) -> None:
        assert next_turn([], ["a"], {}) is None

    def test_fewest_running_jobs_then_longest_ago_then_oldest(self) -> None:
        jobs = waiting("a", "b", "c", "c")
        assert next_turn(jobs, ["a", "a", "b", "c", "c"], {}) == jobs[1]
        assert next_turn(jobs, [], {"a": 30.0, "b": 10.0, "c": 20.0}) == jobs[1]
        assert next_turn(jobs, [], {"a": 30.0, "b": 10.0}) == jobs[2]
        assert next_turn(jobs, [], {}) == jobs[0]


class TestInOrder:
    def test_of_one_project_is_the_order_of_creation(self) -> None:
        assert ids(in_order(waiting("a", "a", "a"), ["a"], {"a": 1.0})) == ["a0", "a1", "a2"]

    def test_a_project_with_many_jobs_delays_anothers_first_by_one(self) -> None:
        jobs = waiting("a", "a", "a", "b", "b")
        assert ids(in_order(jobs, ["a"], {"a": 1.0})) == ["b3", "a0", "b4", "a1", "a2"]

    def test_with_two_devices_each_project_has_one(self) -> None:
        jobs = waiting("a", "a", "b", "b")
        assert ids(in_order(jobs, ["a", "a"], {"a": 1.0})) == ["b2", "a0", "b3", "a1"]

    def test_is_turn_after_turn_whatever_waits(self) -> None:
        chance, starts = random.Random(7), {"a": 3.0, "b": 1.0}
        for _ in range(50):
            jobs, running = waiting(*chance.choices("abcd", k=12)), chance.choices("abcd", k=chance.randrange(4))
            chance.shuffle(jobs)
            left, busy, newest, expected = list(jobs), list(running), dict(starts), list[Waiting]()
            while job := next_turn(left, busy[1:], newest):
                expected.append(job)
                left.remove(job)
                busy = [*busy[1:], job.project_id]
                newest[job.project_id] = 10.0 + len(expected)
            assert in_order(jobs, running, starts) == expected

    def test_first_in_order_is_the_next_turn_once_a_device_is_free(self) -> None:
        jobs = waiting("a", "b", "b", "c")
        for running in (["a"], ["a", "b"], ["c", "b", "a"]):
            assert in_order(jobs, running, {"b": 5.0})[0] == next_turn(jobs, running[1:], {"b": 5.0})
