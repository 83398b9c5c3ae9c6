import os
import stat
from pathlib import Path

import pytest

from deploy.data_dir import DataDirInUse, claim
from deploy.parts import StackError
from gateway.kit.sealing import read_keys

URL = "http://127.0.0.1:8000"


class TestClaim:
    def test_makes_a_directory_that_is_closed_to_others(self, tmp_path: Path):
        with claim(tmp_path / "deep" / "place", URL) as place:
            assert stat.S_IMODE(place.root.stat().st_mode) == 0o700
            assert place.logs.is_dir()
            assert place.run.is_dir()

    def test_says_who_holds_it(self, tmp_path: Path):
        with claim(tmp_path, URL), pytest.raises(DataDirInUse) as refused, claim(tmp_path, "http://127.0.0.1:9"):
            pass
        assert refused.value.exit_status == 2
        assert f"already runs on {tmp_path} (pid {os.getpid()}, {URL})" in str(refused.value)

    def test_a_refused_claim_leaves_the_holder_alone(self, tmp_path: Path):
        with claim(tmp_path, URL):
            for _ in range(2):
                with pytest.raises(DataDirInUse, match=URL), claim(tmp_path, "http://127.0.0.1:9"):
                    pass

    def test_is_free_again_afterwards(self, tmp_path: Path):
        for _ in range(2):
            with claim(tmp_path, URL):
                pass

    def test_takes_over_a_lock_file_that_nobody_holds(self, tmp_path: Path):
        (tmp_path / "lock").write_text(
            '{"pid": 1, "url": "http://127.0.0.1:8000", "started_at": 1, "more": "than before"}'
        )
        with claim(tmp_path, URL):
            assert f'"pid": {os.getpid()}' in (tmp_path / "lock").read_text()

    def test_names_a_place_that_cannot_be_written(self, tmp_path: Path):
        (tmp_path / "file").write_text("")
        with (
            pytest.raises(StackError, match=r"file/place cannot be written \(Not a directory\)"),
            claim(tmp_path / "file" / "place", URL),
        ):
            pass


class TestSecretKey:
    def test_is_made_once_and_readable_by_its_owner_alone(self, tmp_path: Path):
        with claim(tmp_path, URL) as place:
            secret = place.secret_key()
            assert len(bytes.fromhex(secret)) == 32
            assert place.secret_key() == secret
            assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600

    def test_an_emptied_file_is_refused(self, tmp_path: Path):
        with claim(tmp_path, URL) as place:
            (tmp_path / "secret_key").write_text("\n")
            with pytest.raises(StackError, match="restore it from a backup"):
                place.secret_key()


class TestEncryptionKey:
    def test_is_made_once_and_readable_by_its_owner_alone(self, tmp_path: Path):
        with claim(tmp_path, URL) as place:
            path = place.encryption_key_file()
            made = path.read_text()
            assert path == tmp_path / "encryption.key"
            assert len(read_keys(made)) == 1
            assert place.encryption_key_file().read_text() == made
            assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_one_with_a_second_key_stays_as_it_is(self, tmp_path: Path):
        with claim(tmp_path, URL) as place:
            path = place.encryption_key_file()
            path.write_text("ab" * 32 + "\n" + path.read_text())
            assert len(read_keys(place.encryption_key_file().read_text())) == 2


class TestAdminKey:
    def test_is_remembered_without_being_kept(self, tmp_path: Path):
        with claim(tmp_path, URL) as place:
            assert not place.has_admin_key
            place.remember_admin_key()
            assert place.has_admin_key
