"""One grader of each kind, as JSON."""

from typing import Any

CHECK: dict[str, Any] = {
    "type": "string_check",
    "name": "c",
    "input": "{{ sample.output_text }}",
    "reference": "x",
    "operation": "eq",
}
SIMILARITY: dict[str, Any] = {
    "type": "text_similarity", "name": "t", "input": "{{ sample.output_text }}", "reference": "{{ item.answer }}",
    "evaluation_metric": "fuzzy_match",
}  # fmt: skip
SCORE: dict[str, Any] = {
    "type": "score_model", "name": "s", "model": "m", "input": [{"role": "user", "content": "Rate {{ sample.output_text }}"}],
}  # fmt: skip
LABEL: dict[str, Any] = {
    **SCORE,
    "type": "label_model",
    "name": "l",
    "labels": ["good", "bad"],
    "passing_labels": ["good"],
}
PYTHON: dict[str, Any] = {"type": "python", "name": "p", "source": "def grade(sample, item):\n    return 1.0"}
MULTI: dict[str, Any] = {
    "type": "multi",
    "name": "m",
    "graders": {"a": CHECK, "b": LABEL},
    "calculate_output": "(a + b) / 2",
}
