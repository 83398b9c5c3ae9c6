from pathlib import Path

from gateway.fine_tuning.out_of_memory import kills


class TestKills:
    def test_are_counted_by_the_system(self, tmp_path: Path) -> None:
        vmstat = tmp_path / "vmstat"
        vmstat.write_text("pgfault 5\noom_kill 12\nnuma_hit 3\n")
        assert kills(vmstat) == 12

    def test_system_that_does_not_say(self, tmp_path: Path) -> None:
        assert kills(tmp_path / "nothing") is None
        (tmp_path / "old").write_text("pgfault 5\n")
        assert kills(tmp_path / "old") is None
