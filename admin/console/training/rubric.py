"""What a model that judges a tuned model's answers looks at (requirement V8), as criteria of an eval."""

from typing import Any

POINTS = {
    "relevance": "Does it answer what was asked, and nothing else?",
    "coherence": "Is it well ordered, and free of contradictions?",
    "factuality": "Is everything that it states supported by the conversation or the good answer?",
    "completeness": "Does it have everything of importance that the good answer has?",
    "tone": "Is it worded as the good answer is: as formal, as polite, for the same reader?",
}
OVERALL, EACH = "overall", "points"
HOW = {OVERALL: "one score for all five points: one call an answer", EACH: "a score for each: five calls an answer"}
LOWEST, HIGHEST, LEAST = 1, 5, 3
NAME = "judged answer"
ASKED = """The conversation:
{{ item.input }}

A good answer:
{{ item.expected }}

The answer to be judged:
{{ sample.output_text }}"""


def criteria(judge: str, how: str) -> list[dict[str, Any]]:
    """Args: judge: the model that is asked; how: one of HOW."""
    if how == EACH:
        return [_criterion(judge, name, f"{name}: {question}") for name, question in POINTS.items()]
    return [_criterion(judge, NAME, " ".join(f"{name}: {question}" for name, question in POINTS.items()))]


def _criterion(judge: str, name: str, asked: str) -> dict[str, Any]:
    system = (
        f"You judge an answer of an assistant. Look at this alone. {asked} A longer answer is no better for being longer, and "
        f"it need not be worded like the good one. Score it from {LOWEST} (not at all) to {HIGHEST} (in every way)."
    )
    return {
        "type": "score_model",
        "name": name,
        "model": judge,
        "range": [LOWEST, HIGHEST],
        "pass_threshold": LEAST,
        "input": [{"role": "system", "content": system}, {"role": "user", "content": ASKED}],
    }
