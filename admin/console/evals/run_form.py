"""Runs of an eval as a form has them: what is asked of which models, and, of the last run, how that is filled in."""

import json
from collections.abc import Mapping
from typing import Any, cast

from admin.console import entered
from admin.console.api import ApiRefused, Json
from admin.console.evals import item_fields
from admin.console.evals.words import from_log

MODELS = ("model_1", "model_2", "model_3", "model_4")
NUMBERS = ("temperature", "top_p", "max_completion_tokens", "seed")
ANSWERED = "answered"
"""`asked`: nobody is asked, the data has the answers."""
REFERENCE = "reference"
"""`asked`: the messages that the item holds."""
TEMPLATE = "template"
AGAIN = "again"
"""`data`: the same inline items as in the last run."""

Form = Mapping[str, Any]


def models_of(form: Form) -> list[str]:
    """Each once. Of answers that are there already, one run without a model."""
    if form.get("asked") == ANSWERED:
        return [""]
    return list(dict.fromkeys(name for field in MODELS if (name := entered.text(form, field))))


def body_of(form: Form, suite: Json, model: str, inline: list[Any] | None) -> dict[str, Any]:
    """For POST /v1/evals/{id}/runs. Args: inline: items of the last run. Raises ApiRefused."""
    body: dict[str, Any] = {"data_source": _data_source(form, suite, model, inline)}
    if name := entered.text(form, "name"):
        body["name"] = name
    if (repeats := entered.whole(form, "repeats")) is not None:
        body["repeats"] = repeats
    return body


def of_field(refused: ApiRefused, form: Form, model: str) -> ApiRefused:
    """The same, of the field that was filled in."""
    param = refused.param or ""
    if param == "model" or param.endswith("data_source.model"):
        chosen = (field for field in MODELS if entered.text(form, field) == model)
        refused.param = next(chosen, MODELS[0])
    elif param.startswith("data_source.sampling_params"):
        name = param.rpartition(".")[2]
        refused.param = name if name in NUMBERS else "more"
    elif param.startswith("data_source.input_messages"):
        refused.param = _messages_field(form)
    elif param.startswith("data_source.source.id"):
        refused.param = "data"
    elif param.startswith("data_source.source"):
        refused.param = "limit" if param.endswith("limit") else "data"
    return refused


def fields_of(suite: Json, last: Json | None, file_id: str) -> dict[str, Any]:
    """As it is filled in at first: like the last run, else by what the items seem to be. Args: file_id: the eval's."""
    source = last["data_source"] if last else {}
    fields: dict[str, Any] = {"repeats": last["repeats"] if last else 1, "data": _data_of(source, file_id)}
    fields |= _asked(source, suite)
    params = dict(source.get("sampling_params") or {}) if source.get("model") else {"temperature": 0}
    fields |= {name: params.pop(name) for name in NUMBERS if name in params}
    fields["more"] = json.dumps(params, ensure_ascii=False, indent=1) if params else ""
    filters = source.get("source") or {}
    return fields | {"limit": filters.get("limit", ""), "of_model": filters.get("model", "")}


def inline_items(last: Json | None) -> list[Any] | None:
    """Of a run with inline items, all of them; None where it had others, or more than the API shows."""
    if last is None:
        return None
    source = last["data_source"].get("source") or {}
    content = source.get("content")
    whole = content is not None and len(content) * last["repeats"] == last["result_counts"]["total"]
    return cast("list[Any]", content) if whole else None


def is_offered(data: str, files: list[Json], inline: list[Any] | None) -> bool:
    """Whether a choice of data is among those of the form; else a browser would send its first one."""
    return inline is not None if data == AGAIN else any(each["id"] == data for each in files)


def _data_source(form: Form, suite: Json, model: str, inline: list[Any] | None) -> dict[str, Any]:
    source = _source(form, suite, inline)
    if not model:
        return {"type": "completions" if from_log(suite) else "jsonl", "source": source}
    asked: dict[str, Any] = {"type": "completions", "model": model, "source": source}
    if messages := _messages(form, suite):
        asked["input_messages"] = messages
    return asked | ({"sampling_params": params} if (params := _sampling(form)) else {})


def _source(form: Form, suite: Json, inline: list[Any] | None) -> dict[str, Any]:
    if from_log(suite):
        filters = {"limit": entered.whole(form, "limit"), "model": entered.text(form, "of_model") or None}
        return {"type": "stored_completions", **{name: value for name, value in filters.items() if value is not None}}
    data = entered.text(form, "data")
    if data == AGAIN and inline is not None:
        return {"type": "file_content", "content": inline}
    if not data or data == AGAIN:
        raise ApiRefused(400, {"message": "Choose the data that is asked.", "param": "data"})
    return {"type": "file_id", "id": data}


def _messages(form: Form, suite: Json) -> dict[str, Any] | None:
    if form.get("asked") == REFERENCE:
        path = entered.text(form, "reference")
        return {"type": "item_reference", "item_reference": f"item.{path}" if path else ""}
    if entered.text(form, "messages"):
        return {"type": "template", "template": _json(form, "messages", list)}
    said = (("system", entered.text(form, "system")), ("user", entered.text(form, "user")))
    written = [{"role": role, "content": text} for role, text in said if text]
    if not written:
        raise ApiRefused(400, {"message": "Write what the model is asked.", "param": "user"})
    return {"type": "template", "template": written}


def _messages_field(form: Form) -> str:
    if form.get("asked") == REFERENCE:
        return "reference"
    return "messages" if entered.text(form, "messages") else "user"


def _sampling(form: Form) -> dict[str, Any]:
    """What is no number goes to the API as it is. Raises ApiRefused."""
    given = {name: _number(text) for name in NUMBERS if (text := entered.text(form, name))}
    more = _json(form, "more", dict) if entered.text(form, "more") else {}
    return {**cast("dict[str, Any]", more), **given}


def _asked(source: Json, suite: Json) -> dict[str, Any]:
    """How the messages are made."""
    schema = suite["data_source_config"].get("schema", {}).get("properties", {}).get("item", {})
    lists = item_fields.messages_in(schema)
    wanted = source.get("input_messages")
    if source and not source.get("model"):
        return {"asked": ANSWERED} | _guessed(schema, lists)
    if not wanted:
        question = item_fields.question_in(schema)
        kind = REFERENCE if from_log(suite) or question in lists else TEMPLATE
        return {"asked": kind} | _guessed(schema, lists)
    if wanted["type"] == "item_reference":
        named = wanted["item_reference"].strip().removeprefix("item.")
        return _guessed(schema, lists) | {"asked": REFERENCE, "reference": named}
    return {"asked": TEMPLATE, "reference": next(iter(lists), "")} | _templated(wanted["template"])


def _guessed(schema: Json, lists: list[str]) -> dict[str, str]:
    question = item_fields.question_in(schema)
    reference = question if question in lists else next(iter(lists), "")
    return {"user": item_fields.template(question), "reference": reference or "input"}


def _templated(messages: list[Any]) -> dict[str, str]:
    """In fields if they can say it, else as JSON."""
    simple = [(each.get("role"), each.get("content")) for each in messages]
    by_role = {role: text for role, text in simple if isinstance(text, str)}
    if [role for role, _ in simple] in (["user"], ["system", "user"]) and len(by_role) == len(simple):
        return {"system": by_role.get("system", ""), "user": by_role["user"]}
    return {"messages": json.dumps(messages, ensure_ascii=False, indent=1)}


def _data_of(source: Json, file_id: str) -> str:
    of = source.get("source") or {}
    if of.get("type") == "file_content":
        return AGAIN
    return of.get("id") or file_id


def _number(text: str) -> float | str:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _json(form: Form, name: str, kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """Raises ApiRefused."""
    try:
        found = json.loads(entered.text(form, name))
    except (ValueError, RecursionError) as error:
        raise ApiRefused(400, {"message": f"This is no JSON: {error}.", "param": name}) from None
    if not isinstance(found, kind):
        what = "a list of messages" if kind is list else "an object"
        raise ApiRefused(400, {"message": f"This is not {what}.", "param": name})
    return cast("Any", found)
