"""Criteria of an eval, in words."""

from collections.abc import Iterable
from typing import Any

from admin.console.api import Json
from admin.console.evals.item_fields import in_order, type_of
from admin.console.render import short

OPERATIONS = {
    "eq": "is exactly",
    "ne": "is not",
    "like": "contains",
    "ilike": "contains, in any case,",
}
METRICS = {
    "rouge_l": "ROUGE-L",
    "fuzzy_match": "fuzzy match",
    "cosine": "cosine similarity",
    "bleu": "BLEU",
    "gleu": "GLEU",
    "meteor": "METEOR",
    **{f"rouge_{n}": f"ROUGE-{n}" for n in range(1, 6)},
}
KINDS = {
    "string_check": "Text check",
    "text_similarity": "Similarity",
    "score_model": "Score by a model",
    "label_model": "Label by a model",
    "python": "Python",
}
DIRECTIONS = {
    "improving": ("improving", "good"),
    "regressing": ("regressing", "bad"),
    "steady": ("no change that is sure", "plain"),
    "first": ("first run", "plain"),
    "unmeasured": ("nothing measured", "warn"),
}
"""Of a trend: the word, and the kind of its badge."""
ANSWER = "{{ sample.output_text }}"
LONGEST = 60
"""Characters of a text that a sentence repeats."""


def sentence(criterion: Json) -> str:
    """When an answer passes."""
    kind = criterion["type"]
    if kind == "string_check":
        return f"{_what(criterion['input'])} {OPERATIONS[criterion['operation']]} {_named(criterion['reference'])}"
    if kind == "text_similarity":
        metric = METRICS.get(criterion["evaluation_metric"], criterion["evaluation_metric"])
        least = criterion.get("pass_threshold")
        said = f"{_what(criterion['input'])} is like {_named(criterion['reference'])}"
        return f"{said}: {metric} of {_number(least)} or more"
    if kind == "score_model":
        low, high = criterion.get("range") or (0.0, 1.0)
        least = criterion.get("pass_threshold")
        least = (low + high) / 2 if least is None else least
        scale = f"{_number(low)} to {_number(high)}"
        return f"{criterion['model']} gives it {_number(least)} or more, of {scale}"
    if kind == "label_model":
        passing = " or ".join(criterion["passing_labels"])
        return f"{criterion['model']} calls it {passing}, out of {', '.join(criterion['labels'])}"
    least = criterion.get("pass_threshold")
    return f"the Python function returns {_number(0.5 if least is None else least)} or more"


def prompt_of(criterion: Json) -> str:
    """What a model that grades is asked; empty for a criterion that asks none."""
    return "\n\n".join(
        _text(message["content"]) for message in criterion.get("input") or [] if isinstance(message, dict)
    )


def fields_of(suite: Json) -> list[tuple[str, str, bool]]:
    """Of the items: name, type, and whether each has it."""
    item = suite["data_source_config"].get("schema", {}).get("properties", {}).get("item", {})
    required = item.get("required") or []
    return [(name, type_of(each), name in required) for name, each in in_order(item).items()]


def from_log(suite: Json) -> bool:
    """Its items are stored completions."""
    return suite["data_source_config"]["type"] != "custom"


def canceled(run: Json) -> str:
    """What became of a run that was asked to end. Args: run: as the API answered."""
    return "The run ends; what was answered stays." if run["status"] == "canceled" else "The run had ended already."


def _what(text: str) -> str:
    return "the answer" if text == ANSWER else _named(text)


def _named(text: str) -> str:
    """A template as its field, other text as it is."""
    inner = text.strip()
    if inner.startswith("{{") and inner.endswith("}}") and inner.count("{{") == 1:
        return inner[2:-2].strip().removeprefix("item.")
    return f"\u201c{short(text, LONGEST)}\u201d"


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts: Iterable[Any] = content if isinstance(content, list) else [content]
    return "\n".join(each.get("text", "") if isinstance(each, dict) else str(each) for each in parts)


def _number(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:g}"
