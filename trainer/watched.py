"""What our trainers add to TRL's: whole checkpoints, a sampler and a tally of their own, adapters in float32."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch.utils.data import Sampler
from transformers import PreTrainedModel, PrinterCallback, Trainer

from trainer import devices
from trainer.batches import ByLength, Filled
from trainer.failures import diverged
from trainer.model import finish, write_adapter, write_weights
from trainer.probe import Prober
from trainer.progress import Progress
from trainer.stopping import Stop
from trainer.tally import Sums, Tally


class WatchedTrainer(Trainer):
    """Comes before TRL's class in the bases. A method brings `compute_loss`, which adds to `tally`, and
    `add_score`."""

    prober: Prober
    """Set before the training begins."""

    def __init__(
        self, *, model: Any, base_model: str, sampler: ByLength | Filled, padding: Any, tally: Tally, **arguments: Any
    ):
        """`base_model` is the name that the adapter keeps of it; `padding` makes a batch of examples."""
        given = _trained_weights(model) if isinstance(model, PeftModel) else {}
        super().__init__(model=model, data_collator=padding, **arguments)
        self.tally = tally
        self.padding = padding
        self._sampler = sampler
        self.remove_callback(PrinterCallback)
        if not self.trains_all_weights:
            self._set_up_adapter(base_model, given)
        # `compute_loss` divides by what the whole optimizer step has, whatever the model's forward accepts.
        self.model_accepts_loss_kwargs = True

    def _set_up_adapter(self, base_model: str, given: dict[str, torch.Tensor]) -> None:
        """TRL rounds adapters on 4-bit models to bfloat16, and PEFT loads them from a checkpoint as float32: a run that
        was resumed would go on with other numbers. Ours are float32 throughout, those `given` not rounded before."""
        self.adapter.create_or_update_model_card = lambda output_dir: None
        self.adapter.peft_config["default"].base_model_name_or_path = base_model
        for name, weights in self.adapter.named_parameters():
            if weights.requires_grad:
                # Given before the model was moved to its device.
                weights.data = given.get(name, weights.data).to(device=weights.device, dtype=torch.float32)

    @property
    def network(self) -> PreTrainedModel | PeftModel:
        """What is trained, out of whatever accelerate wraps it in."""
        return self.accelerator.unwrap_model(self.model)

    @property
    def adapter(self) -> PeftModel:
        """The same, where an adapter is trained."""
        assert isinstance(self.network, PeftModel)
        return self.network

    @property
    def base_network(self) -> PreTrainedModel:
        """The model without its adapter's frame around it (the adapter's layers are in it)."""
        network = self.network
        return network.get_base_model() if isinstance(network, PeftModel) else network  # pyright: ignore[reportReturnType]

    @property
    def trains_all_weights(self) -> bool:
        return not isinstance(self.network, PeftModel)

    def watched_by(self, progress: Progress) -> Progress:
        self._progress = progress
        self.add_callback(progress)
        return progress

    def score(self, batches: Iterator[dict[str, torch.Tensor]], stop: Stop | None = None) -> Sums | None:
        """Σ over validation batches, or None when asked to stop by `stop`."""
        tally = Tally()
        self.network.eval()
        with torch.no_grad():
            for batch in devices.share(batches):
                # Several devices have to turn at the same batch, so they score to the end.
                if stop is not None and stop.requested and devices.count() == 1:
                    return None
                inputs = {name: tensor.to(self.args.device) for name, tensor in batch.items()}
                with self.compute_loss_context_manager():
                    self.add_score(inputs, tally)
        return tally.read()

    def add_score(self, inputs: dict[str, torch.Tensor], tally: Tally) -> None:
        """Adds one validation batch, which is on the device."""
        raise NotImplementedError

    def begin_epoch(self, epoch: int) -> None:
        """Counted from 0. Where several processes go on in the middle of an epoch, accelerate's data loader does not reach
        its sampler (it is wrapped once more), and they would go on with the order of the first epoch."""
        self._sampler.set_epoch(epoch)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return self._sampler

    def floating_point_ops(self, inputs: Any) -> int:
        """Nobody reads it, and it walks over all modules at every step."""
        return 0

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """The files that Trainer resumes from. Its own `_save_checkpoint` writes more, and in another order."""
        self._progress.save()

    def write_checkpoint(self, path: Path) -> None:
        """Each process writes its random state, the first one everything else. Raises TrainingFailed where a trained
        weight is no number, in all processes."""
        self._check_weights()
        if devices.is_first():
            self._write_weights(path)
            self.state.save_to_json(str(path / "trainer_state.json"))
        self._save_optimizer_and_scheduler(str(path))
        self._save_scaler(str(path))
        self._save_rng_state(str(path))

    def write_output(self, path: Path) -> None:
        """The result. Nothing can be trained with this object afterwards. Raises TrainingFailed where a weight is too
        large for the dtype that it is to have."""
        if self.trains_all_weights:
            finish(self.base_network)
        self._check_weights()
        self._write_weights(path)

    def _check_weights(self) -> None:
        trained = (weights.detach() for weights in self.network.parameters() if weights.requires_grad)
        if not all(map(_is_finite, trained)):
            raise diverged(f"The model's weights are no numbers any more after step {self.state.global_step}.")

    def _write_weights(self, path: Path) -> None:
        if self.trains_all_weights:
            write_weights(self.base_network, self.processing_class, path)
        else:
            write_adapter(self.adapter, path)
        self.prober.write(self.network, path, self.compute_loss_context_manager())


def _is_finite(weights: torch.Tensor) -> bool:
    """Without the memory that `isfinite()` takes of a large matrix; one that is no number is the least and the largest."""
    return all(map(math.isfinite, torch.stack(torch.aminmax(weights)).tolist()))


def _trained_weights(model: PeftModel) -> dict[str, torch.Tensor]:
    return {name: weights.data for name, weights in model.named_parameters() if weights.requires_grad}
