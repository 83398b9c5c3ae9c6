import pytest

from gateway.db.tables import FineTuningJobRow
from gateway.fine_tuning.names import base_name, checkpoint_name, model_name


class TestModelName:
    @pytest.mark.parametrize(
        ("suffix", "shown"),
        [
            (None, ""),
            ("shop", "shop"),
            ("My-Shop_2.0", "My-Shop_2.0"),
            ("my shop: v2/final?", "my-shop-v2-final"),
            ("naïve\r\nx-evil: 1", "na-ve-x-evil-1"),
            ("日本", ""),
            ("../..", "..-.."),
        ],
    )
    def test_suffix_fits_urls_and_headers(self, suffix: str | None, shown: str) -> None:
        row = FineTuningJobRow(id="ftjob-abcdefghijkl", suffix=suffix)
        assert model_name(row, "base", "tuneway") == f"ft:base:tuneway:{shown}:efghijkl"

    def test_organization_does_too(self) -> None:
        row = FineTuningJobRow(id="ftjob-abcdefghijkl", suffix=None)
        name = model_name(row, "base", "Acme: research/lab")
        assert name == "ft:base:Acme-research-lab::efghijkl"
        assert base_name(name) == "base"


class TestBaseName:
    @pytest.mark.parametrize("base", ["starter", "org/name", "org/name:latest", "odd:ckpt-step-4"])
    @pytest.mark.parametrize("suffix", ["s", None])
    def test_base_of_a_tuned_model_and_of_its_checkpoints_is_found_again(self, base: str, suffix: str | None) -> None:
        name = model_name(FineTuningJobRow(id="ftjob-abcdefghijkl", suffix=suffix), base, "tuneway")
        assert base_name(name) == base
        assert base_name(checkpoint_name(name, 12)) == base

    def test_base_is_its_own(self) -> None:
        assert base_name("org/name:latest") == "org/name:latest"


class TestCheckpointName:
    def test_is_openais(self) -> None:
        assert checkpoint_name("ft:base:tuneway::efghijkl", 96) == "ft:base:tuneway::efghijkl:ckpt-step-96"
