"""Chat messages and tools of a request, to what chat templates take: the rules of `trainer/messages.py`, which training
has too, with their complaints as this server's refusals."""

from typing import Any

from trainer import messages as rules
from trainer.engine.protocol import Tool
from trainer.engine.refusals import Invalid, Unsupported
from trainer.messages import Unreadable


def for_template(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Raises Invalid with the parameter's path."""
    try:
        return rules.for_template(messages)
    except Unreadable as problem:
        raise refused(problem) from problem


def tools_for_template(tools: list[Tool] | None) -> list[dict[str, Any]] | None:
    """Raises Invalid with the parameter's path."""
    try:
        return rules.tools_for_template([{"type": tool.type, "function": tool.function} for tool in tools or ()])
    except Unreadable as problem:
        raise refused(problem) from problem


def refused(problem: Unreadable) -> Invalid:
    if problem.kind == "unsupported":
        return Unsupported(problem.reason, problem.path)
    if problem.kind == "missing":
        return Invalid(f"Missing required parameter: '{problem.path}'.", problem.path, "missing_required_parameter")
    return Invalid(f"Invalid '{problem.path}': {problem.reason}.", problem.path, "invalid_value")
