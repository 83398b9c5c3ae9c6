"""Rules on tool calls, and OpenAI's text graders as rules."""

from typing import Any

from judges.grade import GraderFailed
from judges.graders import StringCheck, TextSimilarity
from judges.rules.formats import read_json
from judges.rules.rule import Outcome, Rule, RuleFailed, verdict
from judges.sample import Sample
from judges.string_check import check
from judges.subject import Subject, called
from judges.templates import render
from judges.text_similarity import similarity


class ToolCalls(Rule, frozen=True, tag="tool_calls"):
    """Tool calls name tools that the call declared, with arguments that fit their schemas."""

    required: bool = False
    """There must be one."""

    def problems(self) -> list[str]:
        return []

    def check(self, subject: Subject) -> Outcome:
        calls = subject.tool_calls
        if not calls:
            return verdict(not self.required, "The answer calls no tool.", calls=0)
        declared = _declared(subject.tools)
        faults = [fault for call in calls if (fault := _fault(call, declared))]
        good = len(calls) - len(faults)
        why = faults[0] if faults else f"All {len(calls)} tool calls are valid."
        return Outcome(
            passed=not faults, score=good / len(calls), rationale=why, found={"calls": len(calls), "valid": good}
        )


def _declared(tools: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """By kind and name."""
    known = [each for tool in tools if (each := called(tool))]
    return {(kind, name): content for kind, content in known if isinstance(name := content.get("name"), str)}


def _fault(call: Any, declared: dict[tuple[str, str], dict[str, Any]]) -> str | None:
    """What is wrong with one call. Raises RuleFailed."""
    if not isinstance(call, dict):
        return "It has what is no tool call."
    kind, content = called(call) or ("", {})
    name = str(content.get("name", ""))
    if (tool := declared.get((kind, name))) is None:
        return f"It calls '{name[:64]}', which was not declared."
    if kind == "custom":
        return None
    try:
        arguments = read_json(content.get("arguments") or "{}", fenced=False)
    except (ValueError, TypeError) as error:
        return f"The arguments of '{name}' are no JSON: {error}."
    if not isinstance(arguments, dict):
        return f"The arguments of '{name}' are no object."
    wanted: Any = tool.get("parameters")
    if not isinstance(wanted, dict):
        return None
    from judges.rules import schemas  # as in judges/rules/formats.py

    faults = schemas.faults(wanted, arguments)
    return f"Arguments of '{name}': {faults[0]}" if faults else None


class TextGrader(Rule, frozen=True, tag="grader"):
    """OpenAI's string_check or text_similarity; templates have `sample`, and `item` with `question`."""

    grader: StringCheck | TextSimilarity
    pass_score: float = 1.0
    """From which the answer passes, unless the grader has a pass_threshold."""

    def problems(self) -> list[str]:
        return [] if 0 <= self.pass_score <= 1 else ["pass_score: it is between 0 and 1."]

    def check(self, subject: Subject) -> Outcome:
        sample, item = Sample.of_text(subject.text), {"question": subject.question, "messages": subject.messages}
        try:
            text = render(self.grader.input, sample, item).text
            reference = render(self.grader.reference, sample, item).text
            if isinstance(self.grader, StringCheck):
                score, least = check(self.grader.operation, text, reference), self.pass_score
            else:
                score = similarity(self.grader.evaluation_metric, text, reference)
                least = self.grader.pass_threshold if self.grader.pass_threshold is not None else self.pass_score
        except GraderFailed as error:
            raise RuleFailed(str(error)) from None
        return Outcome(passed=score >= least, score=score, rationale=f"It scores {score:.3f}; {least:.3f} passes.")
