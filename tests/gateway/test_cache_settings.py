"""[cache]"""

import pytest

from gateway.settings import SettingsError, load


class TestCacheSettings:
    def test_off_by_default(self) -> None:
        assert not load(None, {}).cache.enabled

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("TTL_SECONDS", "0", "ttl_seconds"),
            ("TTL_SECONDS", "604801", "ttl_seconds"),
            ("MEMORY_BYTES", "-1", "memory_bytes"),
            ("REDIS_BYTES", "-1", "redis_bytes"),
            ("ANSWER_SECONDS", "0", "answer_seconds"),
            ("MAX_ENTRY_BYTES", "0", "max_entry_bytes"),
            ("MODE", "always", "mode"),
        ],
    )
    def test_what_makes_no_sense_is_refused_by_name(self, name: str, value: str, said: str) -> None:
        with pytest.raises(SettingsError, match=said):
            load(None, {f"TUNEWAY_CACHE__{name}": value})
