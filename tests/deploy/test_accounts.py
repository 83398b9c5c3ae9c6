import os
import pwd
from pathlib import Path

import pytest

from deploy.accounts import unprivileged_account
from deploy.parts import StackError

UNKNOWN = "no-such-user-here"


@pytest.fixture
def _root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


class TestUnprivilegedAccount:
    def test_an_ordinary_user_needs_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert unprivileged_account(tmp_path) is None

    @pytest.mark.usefixtures("_root")
    def test_the_first_known_user_is_taken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        nobody = pwd.getpwnam("nobody")
        monkeypatch.setattr("deploy.accounts.PREFERRED", (UNKNOWN, "nobody"))
        account = unprivileged_account(tmp_path / "new")
        assert account is not None
        assert (account.name, account.uid, account.gid) == ("nobody", nobody.pw_uid, nobody.pw_gid)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_the_owner_of_the_directory_stays_its_owner(self, tmp_path: Path):
        os.chown(tmp_path, pwd.getpwnam("nobody").pw_uid, -1)
        account = unprivileged_account(tmp_path)
        assert account is not None
        assert account.name == "nobody"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_an_owner_without_a_name_is_refused(self, tmp_path: Path):
        os.chown(tmp_path, 54321, -1)
        with pytest.raises(StackError, match="belongs to user id 54321"):
            unprivileged_account(tmp_path)

    @pytest.mark.usefixtures("_root")
    def test_says_what_to_do_when_there_is_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("deploy.accounts.PREFERRED", (UNKNOWN,))
        monkeypatch.setattr("shutil.which", lambda _: None)
        with pytest.raises(StackError, match=r"refuses to run as root.*there is no useradd command"):
            unprivileged_account(tmp_path / "new")
