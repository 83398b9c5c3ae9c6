"""Graders as they are written down (contract section 3, "Graders"), fields in OpenAI's order.

A grader that OpenAI's own guide writes without a name gets one: its variable in a multi grader, else its type.
"""

from typing import Annotated, Any, Literal

import msgspec

Operation = Literal["eq", "ne", "like", "ilike"]
Metric = Literal[
    "cosine",
    "fuzzy_match",
    "bleu",
    "gleu",
    "meteor",
    "rouge_1",
    "rouge_2",
    "rouge_3",
    "rouge_4",
    "rouge_5",
    "rouge_l",
]
Role = Literal["user", "assistant", "system", "developer"]


class EvalItem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A message to a grading model; its text may hold templates."""

    role: Role
    content: Any
    """A text, a part {"type": "input_text" | "output_text", "text"}, or a list of both."""
    type: Literal["message"] | None = None


class SamplingParams(msgspec.Struct, kw_only=True, omit_defaults=True):
    seed: int | None = None
    top_p: float | None = None
    temperature: float | None = None
    max_completions_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """OpenAI's spelling."""
    reasoning_effort: str | None = None


class StringCheck(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="string_check"):
    name: str = ""
    input: str
    reference: str
    operation: Operation


class TextSimilarity(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="text_similarity"):
    name: str = ""
    input: str
    reference: str
    evaluation_metric: Metric
    pass_threshold: float | None = None
    """From which reward on an eval counts a pass; says nothing about the reward."""


class Python(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="python"):
    name: str = ""
    source: str
    image_tag: str | None = None
    """Passed to the operator's sandbox, which decides what is installed."""
    pass_threshold: float | None = None


class ScoreModel(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="score_model"):
    name: str = ""
    model: str
    sampling_params: SamplingParams | None = None
    input: list[EvalItem]
    range: list[float] | None = None
    """Lowest and highest score; [0, 1] when left out."""
    pass_threshold: float | None = None


class LabelModel(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="label_model"):
    name: str = ""
    model: str
    input: list[EvalItem]
    labels: list[str]
    passing_labels: list[str]
    sampling_params: SamplingParams | None = None
    """Extension: OpenAI has it for score models only."""


Single = StringCheck | TextSimilarity | Python | ScoreModel | LabelModel


class Multi(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", tag="multi"):
    name: str = ""
    graders: Single | list[Single] | dict[str, Single]
    """OpenAI's schema says one, its reference shows a list, its guide a map; all three are taken."""
    calculate_output: str

    def by_variable(self) -> dict[str, Single]:
        """Each grader under the name that the formula knows it by: its key in a map, else its own name."""
        if isinstance(self.graders, dict):
            return self.graders
        graders = self.graders if isinstance(self.graders, list) else [self.graders]
        return {grader.name: grader for grader in graders}


Grader = Single | Multi
KINDS: dict[str, type[Grader]] = {
    "string_check": StringCheck,
    "text_similarity": TextSimilarity,
    "score_model": ScoreModel,
    "label_model": LabelModel,
    "python": Python,
    "multi": Multi,
}


def type_of(grader: Grader) -> str:
    """Its `type` on the wire."""
    return str(grader.__struct_config__.tag)
