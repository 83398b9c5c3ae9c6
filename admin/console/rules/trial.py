"""Rules of a form, tried on an answer that was pasted or on one of the log."""

from collections.abc import Mapping
from typing import Any

from admin.console.api import Api, ApiRefused, Json
from admin.console.entered import text
from admin.console.rules.form import rules_of
from admin.console.rules.kinds import KINDS, kind_of


async def tried(api: Api, form: Mapping[str, Any]) -> Json:
    """What POST /v1/rules/try answers, each rule with its `title`. Raises ApiRefused, of the form's fields."""
    rules = rules_of(form)
    id, answer = text(form, "try_exchange"), str(form.get("try_answer") or "")
    subject = {"exchange_id": id} if id else {"answer": answer, "question": str(form.get("try_question") or "")}
    if not id and not answer:
        raise ApiRefused(400, {"message": "Paste an answer, or name an exchange.", "param": "answer"})
    try:
        trial = await api.post("/rules/try", {"rules": rules, **subject})
    except ApiRefused as refused:
        if (refused.param or "").startswith("rules"):
            refused.param = f"spec.{refused.param}"
        raise
    said = [each | {"title": _title(rule)} for each, rule in zip(trial["rules"], rules, strict=True)]
    return trial | {"rules": said}


def _title(rule: Mapping[str, Any]) -> str:
    kind = kind_of(dict(rule))
    return KINDS[kind].title if kind else str(rule.get("type"))
