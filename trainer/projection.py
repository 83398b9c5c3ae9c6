"""TRL's head that gives the log-probabilities of the labels, without the scores of the whole vocabulary at once."""

import trl.trainer.utils
from transformers import PreTrainedModel


def add_label_head(model: PreTrainedModel) -> None:
    """`model(..., labels=..., fused_lm_head=True)` then returns `log_probs` and `is_top1` at each label, and
    `label_mask`, shifted: [rows, tokens - 1]."""
    trl.trainer.utils.add_fused_lm_head(model, outputs=("log_probs", "is_top1"))


# TRL projects only the positions that carry loss where it has Triton, and all of them elsewhere, so that accelerators
# which compile for each shape do not compile again and again. None of ours does: project only what is needed.
trl.trainer.utils._use_triton = lambda device: True
