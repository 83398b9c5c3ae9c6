import math

import pytest

pytest.importorskip("torch")

from trainer.progress import Schedule

pytestmark = pytest.mark.train


class TestSchedule:
    def schedule(self, steps_per_epoch: int, n_epochs: int) -> Schedule:
        return Schedule(micro_batch=1, accumulation=1, steps_per_epoch=steps_per_epoch, n_epochs=n_epochs)

    def test_long_runs_are_thinned_out(self):
        schedule = self.schedule(10_007, 3)
        reported = [step for step in range(1, schedule.total_steps + 1) if schedule.is_reported(step)]
        assert math.isclose(len(reported), 500, rel_tol=0.02)
        assert reported[0] == 1
        assert {10_007, 20_014, 30_021} <= set(reported)

    @pytest.mark.parametrize(("total", "validated"), [(15, 15), (100, 10), (400, 40), (5_000, 500)])
    def test_validation_is_rare_enough_to_be_cheap(self, total: int, validated: int):
        schedule = self.schedule(total, 1)
        assert sum(schedule.is_validated(step) for step in range(1, total + 1)) == validated
