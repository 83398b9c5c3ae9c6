from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.db.tables import FineTuningJobRow
from gateway.fine_tuning.specification import resolved_method, resolved_training, specification
from gateway.protocol.fine_tuning import Training
from trainer.contract import GIVEN, DataSummary, Hyperparameters, Started, TrainingSpec, Wandb

AUTO = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}
NUMBERS = Hyperparameters(
    n_epochs=2,
    batch_size=8,
    learning_rate_multiplier=1.5,
    learning_rate=1e-4,
    beta=0.2,
    training_type="qlora",
    lora_rank=16,
    lora_alpha=32,
    context_length=512,
    packing=True,
    micro_batch=4,
    reasons={"training_type": "little memory", "lora_rank": "few examples"},
)


def started(numbers: Hyperparameters = NUMBERS) -> Started:
    summary = DataSummary(examples=1, tokens=1, label_tokens=1, truncated=0, skipped=0)
    return Started(
        sequence=1,
        created_at=1,
        hyperparameters=numbers,
        training=summary,
        total_steps=1,
        trained_tokens=1,
        device="GPU",
    )


def job(**fields: Any) -> FineTuningJobRow:
    row: dict[str, Any] = {
        "id": "ftjob-1",
        "seed": 7,
        "method": {"type": "supervised", "supervised": {"hyperparameters": AUTO}},
        "training": msgspec.to_builtins(Training()),
        "integrations": [],
    }
    return FineTuningJobRow(**row | fields)


def spec(**fields: Any) -> TrainingSpec:
    return specification(job(**fields), base_model="/weights", continue_from=None)


class TestSpecification:
    def test_nothing_asked_is_all_automatic(self) -> None:
        assert spec() == TrainingSpec(job_id="ftjob-1", base_model="/weights", seed=7)

    def test_everything_asked(self) -> None:
        numbers = {"n_epochs": 2, "batch_size": 8, "learning_rate_multiplier": 2, "beta": 0.2}
        training = {
            "type": "qlora", "lora_rank": 16, "lora_alpha": 32, "context_length": 512, "packing": False,
            "gradient_checkpointing": True,
        }  # fmt: skip
        run = {"project": "p", "name": "n", "entity": None, "tags": ["a", "b"]}
        asked = job(
            method={"type": "dpo", "dpo": {"hyperparameters": numbers}},
            training=training,
            integrations=[{"type": "wandb", "wandb": run}],
            validation_file="file-2",
            largest_micro_batch=2,
        )
        assert specification(asked, base_model="org/name", continue_from=Path("/adapter")) == TrainingSpec(
            job_id="ftjob-1",
            base_model="org/name",
            method="dpo",
            validation_file="validation.jsonl",
            n_epochs=2,
            batch_size=8,
            learning_rate_multiplier=2,
            beta=0.2,
            training_type="qlora",
            lora_rank=16,
            lora_alpha=32,
            context_length=512,
            packing=False,
            gradient_checkpointing=True,
            largest_micro_batch=2,
            seed=7,
            continue_from="/adapter",
            wandb=Wandb(project="p", name="n", tags=("a", "b")),
        )

    @pytest.mark.parametrize("kind", ["lora", "full"])
    def test_of_a_job_that_goes_on_has_the_numbers_that_were_chosen(self, kind: Any) -> None:
        rank = None if kind == "full" else 16
        numbers = msgspec.structs.replace(NUMBERS, training_type=kind, lora_rank=rank, lora_alpha=rank)
        resolved = spec(
            method=resolved_method({"type": "dpo"}, numbers), training=resolved_training(started(numbers), {})
        )
        assert (resolved.n_epochs, resolved.batch_size, resolved.beta) == (2, 8, 0.2)
        assert (resolved.training_type, resolved.packing, resolved.context_length) == (kind, True, 512)
        assert resolved.lora_rank == (rank or "auto")

    @pytest.mark.parametrize(
        ("value", "why", "told"),
        [
            (False, "a base model this small fits into memory without it", "auto"),
            (False, GIVEN, False),
            (True, "a base model this large trains slower with it", True),
            (True, GIVEN, True),
        ],
    )
    def test_gradient_checkpointing_that_was_not_chosen_may_still_be_switched_on(
        self, value: bool, why: str, told: Any
    ) -> None:
        """A trainer that runs out of memory does so where nothing was asked; that it was off at first is no wish."""
        reasons = NUMBERS.reasons | {"gradient_checkpointing": why}
        numbers = msgspec.structs.replace(NUMBERS, gradient_checkpointing=value, reasons=reasons)
        training = resolved_training(started(numbers), {})
        assert spec(training=training).gradient_checkpointing == told


class TestResolved:
    def test_method_shows_what_openai_shows(self) -> None:
        method = resolved_method({"type": "supervised", "supervised": {"hyperparameters": AUTO}}, NUMBERS)
        shown = {"n_epochs": 2, "batch_size": 8, "learning_rate_multiplier": 1.5}
        assert method == {"type": "supervised", "supervised": {"hyperparameters": shown}}
        method = resolved_method({"type": "dpo", "dpo": {"hyperparameters": AUTO}}, NUMBERS)
        assert method == {"type": "dpo", "dpo": {"hyperparameters": shown | {"beta": 0.2}}}

    def test_training_shows_the_rest_with_reasons(self) -> None:
        assert resolved_training(started(), {}) == {
            "type": "qlora",
            "lora_rank": 16,
            "lora_alpha": 32,
            "context_length": 512,
            "packing": True,
            "gradient_checkpointing": False,
            "learning_rate": 1e-4,
            "micro_batch": 4,
            "device": "GPU",
            "reasons": {"type": "little memory", "lora_rank": "few examples"},
        }

    def test_reasons_are_those_of_the_first_start(self) -> None:
        first = resolved_training(started(), {})
        again = msgspec.structs.replace(
            NUMBERS, micro_batch=2, reasons={"lora_rank": "as asked", "micro_batch": "less"}
        )
        assert resolved_training(started(again), first)["micro_batch"] == 2
        assert resolved_training(started(again), first)["reasons"] == first["reasons"] | {"micro_batch": "less"}
