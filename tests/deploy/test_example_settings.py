import re
from pathlib import Path

import msgspec
import pytest

from deploy.example_settings import render
from gateway import settings
from gateway.settings import Settings, load

EXAMPLE = Path(__file__).parents[2] / "deploy" / "tuneway.example.toml"


class TestExampleSettings:
    def test_committed_file_is_what_the_generator_writes(self) -> None:
        assert EXAMPLE.read_text() == render(), "run `make example-settings`"

    def test_as_it_is_it_holds_the_defaults(self) -> None:
        found = load(EXAMPLE, {})
        defaults = load(None, {})
        assert msgspec.to_builtins(found, enc_hook=str) == msgspec.to_builtins(defaults, enc_hook=str)

    def test_loads_with_every_section_uncommented(self, tmp_path: Path) -> None:
        text = re.sub(r"^# (?=\[\[|# |\w+ = [^.])", "", EXAMPLE.read_text(), flags=re.MULTILINE)
        text = text.replace("# url = ...", 'url = "http://127.0.0.1:8001/v1"')
        text = text.replace("# usd_per_hour = ...", "usd_per_hour = 2.5")
        text = text.replace("# proxy = ...", 'proxy = "http://127.0.0.1:3128"')
        text = text.replace("# hedge = ...", "hedge = { after_ms = 500 }")
        text = text.replace("# few_shot = ...", "few_shot = { count = 3 }")
        text = text.replace("# cache = ...", "cache = { ttl_seconds = 60 }")
        text = re.sub(r"# (max_\w+|tensor_parallel_size) = \.\.\.", r"\1 = 8", text)
        text = text.replace("# dtype = ...", 'dtype = "float32"').replace(
            "# enable_sleep_mode = ...", "enable_sleep_mode = true"
        )
        text = text.replace("# gpu_memory_utilization = ...", "gpu_memory_utilization = 0.9")
        path = tmp_path / "tuneway.toml"
        path.write_text(text)
        found = load(path, {"OPENAI_API_KEY": "sk-given"})
        assert [upstream.name for upstream in found.upstreams] == ["openai"]
        assert found.upstreams[0].api_key.reveal() == "sk-given"
        assert [price.model for price in found.prices] == ["gpt-4o-mini"]
        assert [(tier.name, tier.requests_per_minute) for tier in found.tiers] == [("free", 100)]
        assert found.engine.url == "http://127.0.0.1:8001/v1"
        assert [route.name for route in found.routes] == ["support-bot"]
        assert found.vllm.max_cpu_loras == 8
        assert "= ..." not in text

    @pytest.mark.parametrize("field", msgspec.structs.fields(Settings), ids=lambda field: field.name)
    def test_every_setting_is_there_with_its_meaning(self, field: msgspec.structs.FieldInfo) -> None:
        sections = {
            "upstreams": settings.UpstreamSettings,
            "routes": settings.RouteSettings,
            "prices": settings.PriceSettings,
            "tiers": settings.TierSettings,
        }
        section = sections.get(field.name) or (
            type(field.default) if isinstance(field.default, settings.Section) else None
        )
        text = EXAMPLE.read_text()
        if section is None:
            assert re.search(rf"^# .+\n{field.name} = ", text, re.MULTILINE)
            return
        part = re.split(
            r"^(?:# )?\[",
            re.split(rf"^(?:# )?\[+{field.name}\]+$", text, maxsplit=1, flags=re.MULTILINE)[1],
            maxsplit=1,
            flags=re.MULTILINE,
        )[0]
        for each in msgspec.structs.fields(section):
            assert re.search(rf"# .+\n(?:# )*{each.name} = ", part), f"{field.name}.{each.name}"
