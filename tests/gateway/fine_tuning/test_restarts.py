import pytest

from gateway.fine_tuning.restarts import CRASHES, KILLS, Again, Crashed, Restart, again
from gateway.fine_tuning.service import Failure


def after(reason: str, step: int = 5, *earlier: Restart, micro_batch: int | None = 4) -> Again:
    return again(Crashed(9, reason), step=step, earlier=earlier, micro_batch=micro_batch)  # type: ignore[arg-type]


class TestMemory:
    def test_halves_until_one(self) -> None:
        sizes = [7]
        while sizes[-1] > 1:
            decision = after("memory", 0, micro_batch=sizes[-1])
            assert decision.largest_micro_batch is not None
            assert f"with {sizes[-1]} examples at once" in decision.message
            sizes.append(decision.largest_micro_batch)
        assert sizes == [7, 3, 1]

    @pytest.mark.parametrize("micro_batch", [1, None])
    def test_what_cannot_be_smaller_fails_with_advice(self, micro_batch: int | None) -> None:
        with pytest.raises(Failure) as failed:
            after("memory", micro_batch=micro_batch)
        assert failed.value.code == "out_of_memory"
        for advice in ("gradient_checkpointing", "qlora", "context_length"):
            assert advice in failed.value.message


class TestKilled:
    def test_goes_on_with_the_same_numbers_however_often(self) -> None:
        earlier = [Restart("killed", step) for step in range(50)]
        assert after("killed", 51, *earlier).largest_micro_batch is None

    def test_not_for_ever_without_a_step(self) -> None:
        earlier = [Restart("killed", 0)] * KILLS
        assert after("killed", 0, *earlier[1:])
        assert after("killed", 1, *earlier)
        with pytest.raises(Failure) as failed:
            after("killed", 0, *earlier)
        assert failed.value.code == "server_error"


class TestCrash:
    def test_twice_if_it_got_further_each_time(self) -> None:
        first, second = Restart("crash", 1), Restart("crash", 2)
        assert "(status 9)" in after("crash", 1).message
        assert after("crash", 2, first)
        assert CRASHES == 2
        with pytest.raises(Failure, match="status 9"):
            after("crash", 3, first, second)

    def test_not_if_it_got_nowhere(self) -> None:
        for earlier in ((), (Restart("crash", 5),), (Restart("killed", 5),)):
            with pytest.raises(Failure):
                after("crash", 5 if earlier else 0, *earlier)

    def test_kills_do_not_count_as_crashes(self) -> None:
        assert after("crash", 9, Restart("killed", 1), Restart("memory", 2), Restart("crash", 3))
