import typing

from gateway.fine_tuning.transitions import ENDED, FROM, Status

STATUSES = typing.get_args(Status)


class TestTransitions:
    def test_every_status_can_be_reached(self) -> None:
        assert set(FROM) == set(STATUSES)

    def test_nothing_leads_out_of_an_end(self) -> None:
        assert not {start for starts in FROM.values() for start in starts} & set(ENDED)

    def test_a_job_can_be_cancelled_wherever_it_has_not_ended(self) -> None:
        assert set(FROM["cancelled"]) == set(STATUSES) - set(ENDED)

    def test_a_paused_job_does_not_fail(self) -> None:
        assert set(FROM["failed"]) == set(FROM["cancelled"]) - {"paused"}

    def test_a_paused_job_goes_back_to_the_queue_or_is_cancelled(self) -> None:
        assert [status for status, starts in FROM.items() if "paused" in starts] == ["queued", "cancelled"]

    def test_success_comes_from_running_alone(self) -> None:
        assert FROM["succeeded"] == ("running",)
