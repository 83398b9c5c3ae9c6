"""Codes of an authenticator: when one is good, and that none is good twice."""

import pytest
from pyotp.totp import TOTP

from gateway.access import totp
from gateway.db.tables import UserRow
from gateway.errors import Conflict
from gateway.kit.clock import now
from gateway.kit.sealing import Sealer

KEY = "k" * 40
NOON = 1_700_000_010
"""Ten seconds before the next code."""


@pytest.fixture
def sealer() -> Sealer:
    return Sealer([b"e" * 32])


@pytest.fixture
def user() -> UserRow:
    return UserRow(id="user-1", email="a@example.com", recovery_codes=[])


@pytest.fixture
def authenticator(user: UserRow, sealer: Sealer, monkeypatch: pytest.MonkeyPatch) -> TOTP:
    monkeypatch.setattr(totp.time, "time", lambda: NOON)
    return TOTP(totp.begin(user, sealer)[0])


class TestACode:
    @pytest.mark.parametrize(("seconds", "good"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
    def test_is_good_for_a_step_either_way(
        self, user: UserRow, sealer: Sealer, authenticator: TOTP, seconds: int, good: bool
    ) -> None:
        assert totp.accept_code(user, authenticator.at(NOON + seconds), sealer, KEY) is good

    def test_is_good_once_and_none_before_it_either(self, user: UserRow, sealer: Sealer, authenticator: TOTP) -> None:
        assert totp.accept_code(user, authenticator.at(NOON), sealer, KEY)
        for seconds in (0, -30):
            assert not totp.accept_code(user, authenticator.at(NOON + seconds), sealer, KEY)
        assert totp.accept_code(user, authenticator.at(NOON + 30), sealer, KEY)

    def test_may_be_typed_with_spaces(self, user: UserRow, sealer: Sealer, authenticator: TOTP) -> None:
        code = authenticator.at(NOON)
        assert totp.accept_code(user, f" {code[:3]} {code[3:]} ", sealer, KEY)

    def test_is_none_once_its_secret_cannot_be_opened(self, user: UserRow, authenticator: TOTP) -> None:
        other = Sealer([b"f" * 32])
        assert not totp.accept_code(user, authenticator.at(NOON), other, KEY)
        [code, *_] = totp.new_recovery_codes(user, KEY)
        assert totp.accept_code(user, code, other, KEY)

    @pytest.mark.parametrize("code", ["", "\u00e9" * 6, "x" * 5000])
    def test_that_is_none_is_wrong(self, user: UserRow, sealer: Sealer, authenticator: TOTP, code: str) -> None:
        assert not totp.accept_code(user, code, sealer, KEY)


class TestRecoveryCodes:
    def test_are_of_one_person(self, user: UserRow, sealer: Sealer) -> None:
        [code, *_] = totp.new_recovery_codes(user, KEY)
        other = UserRow(id="user-2", email="b@example.com", recovery_codes=user.recovery_codes)
        assert not totp.accept_code(other, code, sealer, KEY)

    def test_new_ones_take_the_place_of_the_old(self, user: UserRow, sealer: Sealer) -> None:
        [old, *_] = totp.new_recovery_codes(user, KEY)
        assert len(set(totp.new_recovery_codes(user, KEY))) == totp.RECOVERY_CODES
        assert not totp.accept_code(user, old, sealer, KEY)

    def test_do_not_switch_it_on(self, user: UserRow, sealer: Sealer, authenticator: TOTP) -> None:
        [code, *_] = totp.new_recovery_codes(user, KEY)
        assert not totp.accept_first_code(user, code, sealer)


class TestBeginning:
    def test_is_refused_while_it_is_on(self, user: UserRow, sealer: Sealer) -> None:
        user.totp_confirmed_at = now()
        with pytest.raises(Conflict):
            totp.begin(user, sealer)

    def test_needs_a_key_to_seal_with(self, user: UserRow) -> None:
        with pytest.raises(Conflict, match="encryption_key"):
            totp.begin(user, Sealer())
