"""Candidates: lines of training files from logged answers, with where they come from."""

from collections.abc import Sequence
from typing import Literal

from gateway.datasets.building.candidate import Candidate, Signal
from gateway.datasets.building.logged import Logged
from gateway.datasets.building.messages import Json, question_of
from gateway.protocol.recipes import Recipe

Fault = Literal["empty_answer", "cut_off", "too_many_turns", "too_deep"]


def fault_of(logged: Logged, recipe: Recipe, *, depth: int, is_edit: bool) -> Fault | None:
    """What speaks against learning an answer, whatever was said of it."""
    if not logged.text.strip():
        return "empty_answer"
    if logged.is_cut_off and not is_edit:
        return "cut_off"
    if recipe.turns.max_turns is not None and logged.user_turns > recipe.turns.max_turns:
        return "too_many_turns"
    return "too_deep" if not is_edit and depth > recipe.self_training.max_depth else None


def sft(logged: Logged, recipe: Recipe, signal: Signal, judgment_ids: list[str], *, depth: int) -> Candidate:
    """The conversation and its answer; earlier answers are learnt when the recipe says so."""
    learnt = recipe.turns.learn == "every"
    messages = logged.messages if learnt else [_unlearnt(message) for message in logged.messages]
    line: Json = {"messages": [*messages, logged.answer]}
    if logged.tools:
        line["tools"] = logged.tools
    return Candidate(
        kind="sft",
        line=line,
        question=question_of(logged.messages),
        answer=logged.text,
        conversation=logged.conversation,
        end_user=logged.call.end_user,
        exchange_id=logged.call.id,
        judgment_ids=judgment_ids,
        origin_model=None if signal == "edit" else logged.call.served_model,
        depth=0 if signal == "edit" else depth,
        signal=signal,
    )


def preference(
    chosen: Logged, rejected: Logged, signal: Signal, judgment_ids: Sequence[str], *, depth: int, votes: int = 1
) -> Candidate:
    """Both answers to one prompt, that of the chosen one."""
    prompt: Json = {"messages": chosen.messages}
    if chosen.tools:
        prompt["tools"] = chosen.tools
    return Candidate(
        kind="preference",
        line={"input": prompt, "preferred_output": [chosen.answer], "non_preferred_output": [rejected.answer]},
        question=question_of(chosen.messages),
        answer=chosen.text,
        rejected=rejected.text,
        conversation=chosen.conversation,
        end_user=chosen.call.end_user,
        exchange_id=chosen.call.id,
        other_exchange_id=rejected.call.id if rejected.call.id != chosen.call.id else None,
        votes=votes,
        judgment_ids=list(judgment_ids),
        origin_model=None if signal == "edit" else chosen.call.served_model,
        depth=0 if signal == "edit" else depth,
        signal=signal,
    )


def _unlearnt(message: Json) -> Json:
    return message | {"weight": 0} if message["role"] == "assistant" else message
