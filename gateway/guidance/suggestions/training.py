"""Other settings of a training, read from what it measured; and the way back, where a training made it worse."""

from collections.abc import Iterator

from gateway.guidance.material import Material, Training
from gateway.guidance.suggestions.failures import is_of_answers
from gateway.guidance.suggestions.wording import rise
from gateway.protocol.guidance import Cluster, Since, Suggestion

OVERFITTING = 1.05
"""Times the lowest validation loss."""
STILL = 0.98
"""Of the first loss: less has not been learnt."""
MEMORIZED = 0.02
"""Nats a token: the training answers are known by heart."""


def suggestions(cluster: Cluster, material: Material) -> Iterator[Suggestion]:
    """For the fine-tuned models that fail most, two at most."""
    if not is_of_answers(cluster):
        return
    if cluster.since is not None:
        yield _way_back(cluster.since)
    tuned = [each.value for each in cluster.models if each.value in material.trainings][:2]
    for model in tuned:
        assert model is not None
        yield from _settings(model, material.trainings[model])


def _way_back(since: Since) -> Suggestion:
    what = "a training" if since.kind == "model" else "a revision of a route"
    parameters = {"model": since.name} if since.kind == "model" else {"route": since.name.partition("@")[0]}
    if since.training_job_id:
        parameters["job_id"] = since.training_job_id
    return Suggestion(
        kind="roll_back",
        title=f"It rose with {since.name}: give it less traffic or go back",
        why=f"More fails since {what} began: {rise(since.change)}.",
        do="Roll the route back or lower the model's share, then compare both on an eval before it gets traffic again.",
        parameters=parameters,
    )


def _settings(model: str, training: Training) -> Iterator[Suggestion]:
    found = _overfitting(training)
    if found is None and training.method == "supervised":  # of pairs the loss is no nats a token
        found = _never_learned(training) or _memorized(training)
    if found is not None:
        title, why, do = found
        parameters = {"model": model, "job_id": training.job_id}
        yield Suggestion(kind="training_settings", title=title, why=why, do=do, parameters=parameters)


def _overfitting(training: Training) -> tuple[str, str, str] | None:
    if len(training.valid_losses) < 2:
        return None
    step, lowest = min(training.valid_losses, key=lambda each: (each[1], each[0]))
    last = training.valid_losses[-1][1]
    if last <= lowest * OVERFITTING:
        return None
    why = f"It learnt by heart: the validation loss was lowest at step {step:,} ({lowest:.2f}), and {last:.2f} at the end."
    return (
        "Fewer epochs",
        why,
        f"Serve the checkpoint of step {step:,}, or train again{_fewer(training)}; or add examples.",
    )


def _fewer(training: Training) -> str:
    return (
        f" with fewer than {training.epochs:g} epochs"
        if training.epochs and training.epochs > 1
        else " for a part of it"
    )


def _never_learned(training: Training) -> tuple[str, str, str] | None:
    first, last = training.first_loss, training.last_loss
    if first is None or last is None or last <= first * STILL:
        return None
    rank = f"a rank above {training.rank}" if training.rank else "a higher rank"
    rate = training.learning_rate_multiplier
    twice = f"a learning rate multiplier of {rate * 2:g}" if rate else "twice the learning rate multiplier"
    why = f"It never learnt its data: the training loss was {first:.2f} at the beginning and {last:.2f} at the end."
    return (
        "Higher rank or learning rate",
        why,
        f"Train again with {rank} or {twice}, and check that answers follow from questions.",
    )


def _memorized(training: Training) -> tuple[str, str, str] | None:
    if training.last_loss is None or training.last_loss >= MEMORIZED:
        return None
    why = f"The training loss ended at {training.last_loss:.3f}: its answers are known by heart."
    return (
        "More varied data",
        why,
        "Add different questions rather than epochs: it has nothing left to learn from these.",
    )
