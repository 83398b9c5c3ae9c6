"""What every method begins with: the base model on the disk, and the job's files read and tokenized for it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from trainer import hyperparameters, model
from trainer.data import count_examples, require_enough
from trainer.failures import Param, invalid_file
from trainer.hyperparameters import Number
from trainer.job import Job
from trainer.labels import ChatLabels, Labelled
from trainer.model import Base
from trainer.pairs import Pairs

Tokenized = TypeVar("Tokenized", bound=Labelled | Pairs)


@dataclass(frozen=True, kw_only=True)
class Format(Generic[Tokenized]):
    """Of the files that a method takes."""

    noun: str
    """What a line is, in the plural."""
    tokenize: Callable[[ChatLabels, Path, int, Param], Tokenized]
    """A file, with what is longer than so many tokens cut."""
    problems: Callable[[Tokenized, str, int], Iterator[str]]
    """What to say of it: how many lines were cut or left out, and what to do about it. Takes "training" or "validation", and
    the tokens after which something was cut."""
    nothing: str
    """What no line has where none is left."""


@dataclass(frozen=True, kw_only=True)
class Files(Generic[Tokenized]):
    """Of one job."""

    base: Base
    context: Number
    """Tokens, after which what is longer was cut."""
    training: Tokenized
    validation: Tokenized | None


def read(job: Job, form: Format[Tokenized]) -> Files[Tokenized]:
    """Raises TrainingFailed."""
    spec = job.spec
    base = model.open_base(job)
    context = hyperparameters.context_length(base.shape, job.hardware.device, spec)
    reading = _Reading(job, form, ChatLabels(base.tokenizer), int(context.value))
    return Files(
        base=base,
        context=context,
        training=reading.of(spec.training_file, "training_file"),
        validation=reading.of(spec.validation_file, "validation_file") if spec.validation_file is not None else None,
    )


@dataclass(frozen=True)
class _Reading(Generic[Tokenized]):
    job: Job
    form: Format[Tokenized]
    labels: ChatLabels
    context: int

    def of(self, name: str, param: Param) -> Tokenized:
        path, noun = self.job.path(name), param.removesuffix("_file")
        count = count_examples(path, param)
        if param == "training_file":
            require_enough(count, hyperparameters.MINIMUM_EXAMPLES)
        self.job.events.say(f"Reading {count} {noun} {self.form.noun}.")
        found = self.form.tokenize(self.labels, path, self.context, param)
        for problem in self.form.problems(found, noun, self.context):
            self.job.events.warn(problem)
        if not found.lengths:
            raise invalid_file(param, f"None of the {found.examples} {noun} {self.form.noun} has {self.form.nothing}.")
        return found
