"""Whether a judge judges its own kin: models prefer what sounds like themselves (arXiv 2404.13076; how much is disputed).

By name alone, as far as names tell; a fine-tuned model's name holds its base (`ft:base:organization:suffix:id`).
"""

import re
from typing import Literal

Kinship = Literal["same_model", "same_base", "same_family"]

_FAMILIES = {
    "openai": r"gpt|chatgpt|o[1-9]\b|davinci|babbage",
    "anthropic": r"claude",
    "google": r"gemini|gemma|palm",
    "meta": r"llama",
    "mistral": r"mistral|mixtral|ministral|codestral|magistral",
    "qwen": r"qwen|qwq",
    "deepseek": r"deepseek",
    "microsoft": r"phi",
    "xai": r"grok",
    "cohere": r"command|aya",
    "ai2": r"olmo|tulu",
    "huggingface": r"smollm",
}
_families = {name: re.compile(rf"(?:^|[/_.:-])(?:{pattern})", re.IGNORECASE) for name, pattern in _FAMILIES.items()}


def base_of(model: str) -> str:
    """`ft:starter:org:suffix:id[:ckpt-step-5]` -> `starter`; any other name is its own."""
    if not model.startswith("ft:"):
        return model
    return re.sub(r":ckpt-step-\d+$", "", model).removeprefix("ft:").rsplit(":", 3)[0]


def family_of(model: str) -> str | None:
    """The family that a model's name tells of; None where it tells nothing."""
    name = base_of(model)
    return next((family for family, pattern in _families.items() if pattern.search(name)), None)


def kinship(judge: str, candidate: str) -> Kinship | None:
    """How a judge is related to the model whose answer it judges; None as far as the names tell."""
    if judge == candidate:
        return "same_model"
    if base_of(judge) == base_of(candidate):
        return "same_base"
    family = family_of(judge)
    return "same_family" if family is not None and family == family_of(candidate) else None
