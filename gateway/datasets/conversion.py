"""One row of a source -> one line of a training file."""

from collections.abc import Callable
from typing import Any

from gateway.datasets.columns import Detection, is_empty, plain
from gateway.datasets.conversations import Json, Unconvertible, answer_of, messages_of, tools_of
from gateway.datasets.problems import CHAT_KEYS, NON_PREFERRED, PREFERRED, PROMPT_KEYS
from gateway.protocol.datasets import Format, Role

PREFERENCES = ("openai-preference", "sharegpt-preference", "preference-table")


class Conversion:
    """What to do with every row.

    Args:
        system: a system message for conversations that have none.
    """

    def __init__(self, detection: Detection, system: str | None = None) -> None:
        self.format: Format = "preference" if detection.layout in PREFERENCES else "chat"
        self._mapping = detection.mapping
        self._system = system
        self._convert: Callable[[Json], Json] = {
            "openai-chat": self._openai_chat,
            "openai-preference": self._openai_preference,
            "sharegpt": self._conversation,
            "sharegpt-preference": self._preference,
            "preference-table": self._preference,
        }.get(detection.layout, self._texts)

    def convert(self, row: Json) -> Json:
        """Raises Unconvertible."""
        return self._convert(row)

    def _texts(self, row: Json) -> Json:
        answer = plain(self._value(row, "assistant"))
        if not answer.strip():
            raise Unconvertible(f"column `{self._mapping['assistant']}` is empty")
        asked = self._asked(row)
        return {"messages": [*self._system_of(row, []), asked, {"role": "assistant", "content": answer}]}

    def _conversation(self, row: Json) -> Json:
        messages = messages_of(self._value(row, "messages"))
        example: Json = {"messages": [*self._system_of(row, messages), *messages]}
        if tools := tools_of(self._value(row, "tools")):
            example["tools"] = tools
        return example

    def _preference(self, row: Json) -> Json:
        answers = [self._answer(row, "preferred"), self._answer(row, "non_preferred")]
        if "messages" in self._mapping:
            given = messages_of(self._value(row, "messages"))
        elif "user" in self._mapping:
            given = [self._asked(row)]
        else:
            given = answers[0][:-1]
            if given != answers[1][:-1]:
                raise Unconvertible("the two conversations differ before their last messages")
        given = given[:-1] if given and given[-1]["role"] == "assistant" else given
        prompt: Json = {"messages": [*self._system_of(row, given), *given]}
        if tools := tools_of(self._value(row, "tools")):
            prompt["tools"] = tools
        return {"input": prompt, "preferred_output": answers[0][-1:], "non_preferred_output": answers[1][-1:]}

    def _openai_chat(self, row: Json) -> Json:
        """As it is, without keys that OpenAI does not know."""
        kept = {name: value for name, value in row.items() if name in CHAT_KEYS and value is not None}
        kept["messages"] = self._with_system(kept.get("messages"))
        return _with_tools(kept)

    def _openai_preference(self, row: Json) -> Json:
        prompt = row.get("input")
        if not isinstance(prompt, dict):
            raise Unconvertible("`input` is not an object")
        given = {name: value for name, value in prompt.items() if name in PROMPT_KEYS and value is not None}
        given["messages"] = self._with_system(given.get("messages"))
        answers = {name: _present(row[name]) for name in (*PREFERRED, *NON_PREFERRED) if row.get(name) is not None}
        return {"input": _with_tools(given), **answers}

    def _with_system(self, messages: Any) -> Any:
        kept = _present(messages)
        if not isinstance(kept, list) or not all(isinstance(message, dict) for message in kept):
            return kept
        return [*self._system_of({}, kept), *kept]

    def _value(self, row: Json, role: Role) -> Any:
        return row.get(self._mapping[role]) if role in self._mapping else None

    def _asked(self, row: Json) -> Json:
        parts = [plain(self._value(row, role)) for role in ("user", "context")]
        text = "\n\n".join(part for part in parts if part.strip())
        if not text:
            raise Unconvertible(f"column `{self._mapping['user']}` is empty")
        return {"role": "user", "content": text}

    def _answer(self, row: Json, role: Role) -> list[Json]:
        messages = answer_of(self._value(row, role))
        if not messages:
            raise Unconvertible(f"column `{self._mapping[role]}` is empty")
        return messages

    def _system_of(self, row: Json, messages: list[Json]) -> list[Json]:
        """The row's own system message, else the one for all, unless the conversation begins with one."""
        if messages and messages[0].get("role") in ("system", "developer"):
            return []
        own = self._value(row, "system")
        text = self._system if is_empty(own) else plain(own)
        return [{"role": "system", "content": text}] if text else []


def _present(messages: Any) -> Any:
    """Parquet gives every message every key; those without a value go."""
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return messages
    return [{name: value for name, value in message.items() if value is not None} for message in messages]


def _with_tools(example: Json) -> Json:
    """Tables hold tools as JSON text. Raises Unconvertible."""
    if not isinstance(written := example.get("tools"), str):
        return example
    tools = tools_of(written)
    rest = {name: value for name, value in example.items() if name != "tools"}
    return rest | {"tools": tools} if tools else rest
