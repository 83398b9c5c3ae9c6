"""Settings: a file, the environment over it, and errors that name their path."""

import re
from pathlib import Path

import pytest

from gateway.settings import Secret, Settings, SettingsError, load

MINIMAL = """
[[upstreams]]
name = "mock"
base_url = "http://127.0.0.1:9100/v1"
api_key = "sk-secret"
models = ["m"]
[[prices]]
model = "m"
input = 5.0
output = 10.0
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "tuneway.toml"


def loaded(config: Path, text: str, environment: dict[str, str] | None = None) -> Settings:
    config.write_text(text)
    return load(config, environment or {})


class TestFile:
    def test_the_smallest_config_works(self, config: Path) -> None:
        settings = loaded(config, MINIMAL)
        assert (settings.upstreams[0].models, settings.prices[0].cached_input) == (("m",), None)

    def test_without_a_file_there_are_defaults(self) -> None:
        assert load(None, {}).max_body_bytes == 32 * 1024 * 1024

    def test_the_data_directory_is_made_absolute(self, config: Path) -> None:
        assert load(None, {}).data_dir == Path.home() / ".tuneway"
        assert loaded(config, 'data_dir = "here"').data_dir == Path.cwd() / "here"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("databse = 1", "unknown field `databse`"),
            ('[database]\nurll = "x"', "unknown field `urll` - at `$.database`"),
            (
                '[database]\nurl = "mysql://u:sk-secret@db/x"',
                "url: write it as postgresql+asyncpg://user:password@host:port/database - at `$.database`",
            ),
            ('[database]\npool_size = "many"', "Expected `int`, got `str` - at `$.database.pool_size`"),
            (
                '[files]\nurl = "gs://bucket"',
                "'gs://bucket' is neither file:///path nor s3://bucket/prefix - at `$.files`",
            ),
            (
                '[files]\ns3_endpoint = "host:9000"',
                "'host:9000' does not begin with https:// or http:// - at `$.files`",
            ),
            ("secret_key = 5", "Expected `str`, got `int` - at `$.secret_key`"),
            ('[[upstreams]]\nname = "a"\nmodels = []', "missing required field `base_url` - at `$.upstreams[0]`"),
            (
                '[[upstreams]]\nname = "a"\nbase_url = "http://h/v1"\nmodels = []\nproxy = "user:sk-secret@proxy:3128"',
                "upstream `a`: proxy: it does not begin with http:// or https:// - at `$.upstreams[0]`",
            ),
            (
                '[[upstreams]]\nname = "a"\nbase_url = "http://h/v1"\nmodels = []\nheaders = { Transfer-Encoding = "x" }',
                "upstream `a`: headers: `Transfer-Encoding` is written by the gateway for each call - at `$.upstreams[0]`",
            ),
            (
                '[[prices]]\nmodel = "a"\ninput = -1.0\noutput = 1.0',
                "price `input` of `a` is negative - at `$.prices[0]`",
            ),
            ('[[prices]]\nmodel = "a"\ninput = nan\noutput = 1.0', "nan is no number of at most 100000"),
            ("[fine_tuning]\nusd_per_hour = -1.0", "usd_per_hour: -1.0 is no number from 0 to 100000"),
            ("[fine_tuning]\nusd_per_hour = nan", "usd_per_hour: nan is no number from 0 to 100000"),
            ('[[prices]]\nmodel = "a"\ninput = 1e-12\noutput = 1.0', "finer than a nano-dollar - at `$.prices[0]`"),
            (
                '[[routes]]\nname = "r"\ntargets = [{ model = "a", weight = -1.0 }]',
                "routes[0].targets[0].weight: a weight is a number from 0 to 1000000000, not -1.0.",
            ),
            ('[[routes]]\nname = "ft:r"\ntargets = [{ model = "a" }]', "routes[0].name: names that begin with `ft:`"),
            (
                '[[routes]]\nname = "r"\ntargets = [{ model_x = "a" }]',
                "unknown field `model_x` - at `$.routes[0].targets[0]`",
            ),
            ('upstreams = "x"', "Expected `array`, got `str` - at `$.upstreams`"),
            ("upstreams = [1]", "Expected `object`, got `int` - at `$.upstreams[0]`"),
            ("x = [", "tuneway.toml"),
            (
                "[vllm]\nmax_lora_rank = 24",
                "max_lora_rank: 24 is none of 1, 8, 16, 32, 64, 128, 256, 320, 512 - at `$.vllm`",
            ),
            (
                "[vllm]\nmax_loras = 8\nmax_cpu_loras = 4",
                "max_cpu_loras: 4 is less than max_loras (8) - at `$.vllm`",
            ),
            ("[vllm]\nmax_num_seqs = 0", "max_num_seqs: 0 is less than 1 - at `$.vllm`"),
            ("[vllm]\ngpu_memory_utilization = 90", "gpu_memory_utilization: 90.0 is not more than 0"),
            ('[vllm]\ndtype = "float64"', "Invalid enum value 'float64' - at `$.vllm.dtype`"),
            ('[vllm]\nextra_args = ["--api-key=x"]', "extra_args: --api-key=x is not for here: set [engine] api_key"),
            ('[vllm]\nextra_args = ["--served_model_name", "x"]', "extra_args: --served_model_name is not for here"),
            (
                '[vllm]\nenvironment = { "VLLM_SKIP_MODEL_NAME_VALIDATION" = "1" }',
                "environment: VLLM_SKIP_MODEL_NAME_VALIDATION is not for here: the base would answer",
            ),
            (
                '[engine]\nsharing = "sleep"\n[vllm]\nenable_sleep_mode = false',
                'vllm.enable_sleep_mode: false, but engine.sharing = "sleep" needs it',
            ),
        ],
    )
    def test_a_mistake_names_its_path_and_the_file(self, text: str, message: str, config: Path) -> None:
        with pytest.raises(SettingsError, match=re.escape(message)) as raised:
            loaded(config, text)
        assert "tuneway.toml" in str(raised.value)

    def test_a_file_that_is_not_there_is_named(self, config: Path) -> None:
        with pytest.raises(SettingsError, match=r"tuneway\.toml"):
            load(config, {})

    def test_a_file_that_is_not_text_is_named(self, config: Path) -> None:
        config.write_bytes(b"\xff\xfe")
        with pytest.raises(SettingsError, match=r"tuneway\.toml"):
            load(config, {})


class TestEnvironment:
    def test_wins_over_the_file(self, config: Path) -> None:
        environment = {"TUNEWAY_DATABASE__POOL_SIZE": "3", "TUNEWAY_ORGANIZATION": "acme", "OTHER": "x"}
        settings = loaded(config, '[database]\npool_size = 5\nurl = "postgresql+asyncpg://x/y"', environment)
        assert (settings.database.pool_size, settings.organization) == (3, "acme")
        assert settings.database.url == "postgresql+asyncpg://x/y"

    def test_numbers_are_read_from_text(self) -> None:
        settings = load(None, {"TUNEWAY_TIMEOUTS__DRAIN": "0.5", "TUNEWAY_MAX_BODY_BYTES": "10"})
        assert (settings.timeouts.drain, settings.max_body_bytes) == (0.5, 10)

    def test_names_the_file(self, config: Path) -> None:
        config.write_text(MINIMAL)
        assert load(None, {"TUNEWAY_CONFIG": str(config)}).upstreams[0].name == "mock"

    def test_what_the_command_line_reads_is_not_a_setting(self) -> None:
        load(None, {"TUNEWAY_ADMIN_KEY": "x", "TUNEWAY_URL": "x", "TUNEWAY_CONFIG": ""})

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("TUNEWAY_DATABSE__URL", "unknown field `databse`"),
            ("TUNEWAY_DATABASE__URLL", "unknown field `urll` - at `$.database`"),
            ("TUNEWAY_TIMEOUTS__DRAIN", "$.timeouts.drain"),
            ("TUNEWAY_DATABASE", "$.database"),
        ],
    )
    def test_a_mistake_names_its_path(self, name: str, message: str) -> None:
        with pytest.raises(SettingsError, match=re.escape(message)):
            load(None, {name: "x"})

    def test_a_list_is_refused_with_advice(self, config: Path) -> None:
        with pytest.raises(SettingsError, match="`upstreams` is a list; set it in the configuration file"):
            loaded(config, MINIMAL, {"TUNEWAY_UPSTREAMS__NAME": "x"})


class TestSecrets:
    def test_do_not_show(self, config: Path) -> None:
        settings = loaded(config, 'secret_key = "hidden-one"' + MINIMAL)
        shown = f"{settings!r} {settings.upstreams[0]!s} {settings.secret_key!r}"
        assert "hidden" not in shown
        assert "sk-secret" not in shown
        assert settings.secret_key.reveal() == "hidden-one"

    def test_an_empty_one_is_false(self) -> None:
        assert not Secret("")
        assert Secret("x")

    def test_a_key_may_stand_in_a_variable(self, config: Path) -> None:
        text = MINIMAL.replace('api_key = "sk-secret"', 'api_key_env = "PROVIDER_KEY"')
        assert loaded(config, text, {"PROVIDER_KEY": "sk-other"}).upstreams[0].api_key.reveal() == "sk-other"

    def test_a_variable_that_is_not_set_is_named(self, config: Path) -> None:
        text = MINIMAL.replace('api_key = "sk-secret"', 'api_key_env = "PROVIDER_KEY"')
        with pytest.raises(SettingsError, match="upstream `mock`: environment variable PROVIDER_KEY is not set"):
            loaded(config, text)


class TestEncryptionKey:
    KEY = "ab" * 32

    def test_comes_from_the_environment(self) -> None:
        assert load(None, {"TUNEWAY_ENCRYPTION_KEY": self.KEY}).encryption_key.reveal() == self.KEY

    def test_or_from_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text(f"{self.KEY}\n")
        found = load(None, {"TUNEWAY_ENCRYPTION_KEY_FILE": str(tmp_path / "key")})
        assert found.encryption_key.reveal().strip() == self.KEY

    def test_there_may_be_none(self) -> None:
        assert not load(None, {}).encryption_key

    def test_one_of_a_wrong_length_is_named_and_not_shown(self, config: Path) -> None:
        with pytest.raises(SettingsError, match=r"^encryption_key: key 1 has 5 bytes where 32 are needed") as raised:
            loaded(config, 'encryption_key = "c2hvcnQ="')
        assert "c2hvcnQ" not in str(raised.value)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"c2hvcnQ=", "key 1 has 5 bytes"),
            (b" \n", "is empty; restore it from a backup"),
            (b"\xff\xfe", "is not text"),
            (None, "No such file"),
        ],
    )
    def test_so_is_a_file(self, content: bytes | None, message: str, tmp_path: Path) -> None:
        path = tmp_path / "key"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SettingsError, match=f"^encryption_key_file: .*{message}"):
            load(None, {"TUNEWAY_ENCRYPTION_KEY_FILE": str(path)})

    def test_both_are_refused(self, tmp_path: Path) -> None:
        environment = {"TUNEWAY_ENCRYPTION_KEY": self.KEY, "TUNEWAY_ENCRYPTION_KEY_FILE": str(tmp_path)}
        with pytest.raises(SettingsError, match="encryption_key and encryption_key_file are both set"):
            load(None, environment)


class TestRepeats:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                MINIMAL + '[[upstreams]]\nname = "mock"\nbase_url = "x"\nmodels = ["n"]',
                "upstreams: `mock` is named twice",
            ),
            (
                MINIMAL + '[[upstreams]]\nname = "b"\nbase_url = "x"\nmodels = ["m"]',
                "models of upstreams: `m` is named twice",
            ),
            (MINIMAL + '[[prices]]\nmodel = "m"\ninput = 1.0\noutput = 1.0', "prices: `m` is named twice"),
            ('[fine_tuning]\ndevices = ["0,1", "2", "1"]', "fine_tuning.devices: `1` is named twice"),
            (
                MINIMAL + '[engine]\nurl = "http://127.0.0.1:9/v1"\nmodel = "m"',
                "models of upstreams: `m` is named twice",
            ),
            ('[engine]\nmodel = "active"', "no model, alias or route can be called `active`"),
            (MINIMAL + '[routing.aliases]\nload = "m"', "no model, alias or route can be called `load`"),
        ],
    )
    def test_are_refused(self, text: str, message: str, config: Path) -> None:
        with pytest.raises(SettingsError, match=re.escape(message)):
            loaded(config, text)

    def test_the_engines_model_counts_only_with_an_engine(self, config: Path) -> None:
        assert loaded(config, MINIMAL + '[engine]\nmodel = "m"').engine.url is None
