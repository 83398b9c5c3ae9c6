"""The rules of the probe, on numbers; then the call, against the fake engine."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.errors import UpstreamFailed, UpstreamRefused
from gateway.settings import TimeoutSettings
from gateway.upstreams.client import UpstreamClient
from gateway.upstreams.engine import Engine
from gateway.upstreams.probe import compare, probe, read_probe
from tests.fakes.engine import BASE, FakeEngine, running_engine
from tests.fakes.tuned_models import write_adapter
from trainer.contract import PROBE, Probe

pytestmark = pytest.mark.anyio

TUNED, PLAIN = [-0.1, -0.2, -0.3], [-2.0, -3.0, -4.0]
NAME = "ft:base:tuneway::one"


def known(**fields: object) -> Probe:
    made = Probe(token_ids=[5, 6, 7, 8, 9], first=2, logprobs=TUNED, base_logprobs=PLAIN, dtype="float32")
    return msgspec.structs.replace(made, **fields)


def said(numbers: list[float], off: float = 0.0) -> list[float]:
    """An engine's numbers of all tokens but the first; the prompt's own do not count."""
    return [-9.0, *(number + off for number in numbers)]


def applied(reference: Probe | None, tuned: list[float], base: list[float], tolerance: float = 0.1) -> bool | None:
    return compare(reference, tuned, base, tolerance=tolerance).applied


class TestCompare:
    def test_same_numbers_are_applied_and_measured(self) -> None:
        found = compare(known(), said(TUNED), said(PLAIN), tolerance=0.1)
        assert (found.applied, found.tokens, found.difference, found.allowed) == (True, 3, 0.0, 0.1)
        assert found.from_base == pytest.approx(2.8)
        assert found.expected_from_base == pytest.approx(2.8)

    def test_numbers_of_the_base_are_not(self) -> None:
        assert applied(known(), said(PLAIN), said(PLAIN)) is False

    @pytest.mark.parametrize(("off", "fits"), [(0.09, True), (-0.09, True), (0.11, False), (-0.11, False)])
    def test_tolerance_is_the_mean_difference(self, off: float, fits: bool) -> None:
        assert applied(known(), said(TUNED, off), said(PLAIN, off)) is fits

    @pytest.mark.parametrize(("dtype", "fits"), [("float32", False), ("bfloat16", True), ("float16", True)])
    def test_sixteen_bits_may_be_twice_as_far_off(self, dtype: str, fits: bool) -> None:
        assert applied(known(dtype=dtype), said(TUNED, 0.15), said(PLAIN, 0.15)) is fits

    def test_quantized_base_may_shift_both(self) -> None:
        """QLoRA is trained on a base of other numbers than the engine serves."""
        assert applied(known(dtype="nf4"), said(TUNED, 0.9), said(PLAIN, 0.9)) is True
        assert applied(known(dtype="nf4"), said(TUNED, 1.5), said(PLAIN, 0.9)) is False
        assert applied(known(dtype="nf4"), said(PLAIN, 0.9), said(PLAIN, 0.9)) is False

    def test_small_change_that_the_tolerance_would_hide_is_looked_for(self) -> None:
        slight = [number + 0.05 for number in PLAIN]
        assert applied(known(logprobs=slight), said(PLAIN), said(PLAIN)) is False
        assert applied(known(logprobs=slight), said(slight, 0.01), said(PLAIN)) is True

    def test_change_too_small_to_be_measured_is_not(self) -> None:
        slight = [number + 0.005 for number in PLAIN]
        assert applied(known(logprobs=slight), said(PLAIN), said(PLAIN)) is True
        coarse = [number + 0.04 for number in PLAIN]
        assert applied(known(logprobs=coarse, dtype="bfloat16"), said(PLAIN), said(PLAIN)) is True

    def test_another_adapters_numbers_are_not_applied(self) -> None:
        assert applied(known(), said([-1.0, -1.0, -1.0]), said(PLAIN)) is False

    def test_weights_of_their_own_must_fit_and_differ_from_the_base(self) -> None:
        alone = known(base_logprobs=None)
        assert applied(alone, said(TUNED), said(PLAIN)) is True
        assert applied(alone, said(TUNED), said(TUNED)) is False
        assert applied(alone, said(PLAIN), said(TUNED)) is False

    def test_without_a_probe_it_must_differ_somewhere(self) -> None:
        assert applied(None, [-1.0, -2.0], [-1.0, -2.001]) is True
        assert applied(None, [-1.0, -2.0], [-1.0, -2.0]) is False

    def test_prompt_that_was_cut_short_says_nothing(self) -> None:
        assert applied(known(), said(TUNED)[:-1], said(PLAIN)[:-1]) is None


class TestReadProbe:
    @pytest.mark.parametrize(
        "written",
        [
            b"",
            b"{}",
            msgspec.json.encode(known(first=0)),
            msgspec.json.encode(known(first=5)),
            msgspec.json.encode(known(logprobs=[-0.1])),
            msgspec.json.encode(known(base_logprobs=[-0.1])),
        ],
    )
    def test_one_that_cannot_be_used_is_none(self, tmp_path: Path, written: bytes) -> None:
        (tmp_path / PROBE).write_bytes(written)
        assert read_probe(tmp_path) is None

    def test_is_what_the_trainer_wrote(self, tmp_path: Path) -> None:
        assert read_probe(tmp_path) is None
        (tmp_path / PROBE).write_bytes(msgspec.json.encode(known()))
        assert read_probe(tmp_path) == known()


@pytest.fixture
def fake() -> Iterator[FakeEngine]:
    with running_engine() as engine:
        yield engine


@pytest.fixture
async def engine(fake: FakeEngine) -> AsyncIterator[Engine]:
    client = UpstreamClient(TimeoutSettings())
    yield Engine(client, fake.url, "sk-engine")
    client.close()


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    write_adapter(tmp_path / "adapter")
    return tmp_path / "adapter"


class TestProbe:
    async def test_asks_for_the_trainers_tokens(self, fake: FakeEngine, engine: Engine, adapter: Path) -> None:
        (adapter / PROBE).write_bytes(msgspec.json.encode(known()))
        await engine.load_adapter(NAME, adapter)
        found = await probe(engine, NAME, BASE, adapter, tolerance=0.1)
        assert (found.applied, found.difference, found.tokens) == (True, 0.0, 3)
        assert fake.keys == {"Bearer sk-engine"}
        fake.off_by = 0.5
        assert (await probe(engine, NAME, BASE, adapter, tolerance=0.1)).applied is False
        assert (await probe(engine, NAME, BASE, adapter, tolerance=0.6)).applied is True

    async def test_adapter_that_answers_as_its_base_is_not_applied(
        self, fake: FakeEngine, engine: Engine, adapter: Path
    ) -> None:
        fake.unapplied.add(NAME)
        await engine.load_adapter(NAME, adapter)
        assert (await probe(engine, NAME, BASE, adapter, tolerance=0.1)).applied is False
        fake.unapplied.clear()
        assert (await probe(engine, NAME, BASE, adapter, tolerance=0.1)).applied is True

    async def test_server_without_prompt_logprobs_is_not_probed(
        self, fake: FakeEngine, engine: Engine, adapter: Path
    ) -> None:
        fake.no_prompt_logprobs = True
        await engine.load_adapter(NAME, adapter)
        found = await probe(engine, NAME, BASE, adapter, tolerance=0.1)
        assert (found.applied, "prompt_logprobs" in found.reason) == (None, True)

    async def test_model_that_is_not_loaded_is_told(self, engine: Engine, adapter: Path) -> None:
        with pytest.raises(UpstreamRefused):
            await probe(engine, NAME, BASE, adapter, tolerance=0.1)

    async def test_engine_that_is_away_is_told(self, fake: FakeEngine, engine: Engine, adapter: Path) -> None:
        fake.away = True
        with pytest.raises(UpstreamFailed):
            await probe(engine, NAME, BASE, adapter, tolerance=0.1)
