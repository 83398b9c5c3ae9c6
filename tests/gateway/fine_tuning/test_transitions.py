import typing

import pytest

from gateway.fine_tuning.transitions import ENDED, FROM, Status

STATUSES = typing.get_args(Status)


class TestTransitions:
    def test_every_status_but_the_first_can_be_reached(self) -> None:
        assert set(FROM) == set(STATUSES) - {"validating_files"}

    def test_nothing_leads_out_of_an_end(self) -> None:
        assert not {start for starts in FROM.values() for start in starts} & set(ENDED)

    @pytest.mark.parametrize("status", ["failed", "cancelled"])
    def test_a_job_can_end_badly_from_wherever_it_has_not_ended(self, status: str) -> None:
        assert set(FROM[status]) == set(STATUSES) - set(ENDED)

    def test_success_comes_from_running_alone(self) -> None:
        assert FROM["succeeded"] == ("running",)
