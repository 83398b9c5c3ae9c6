"""What one chat template expects of messages beyond OpenAI's format. Training and serving ask here, so that an adapter
sees the same text in both; vLLM decides in the same way (0.32: `renderers/hf.py`).

- A template that loops over a message's content is given parts; any other is given text, parts joined by line ends.
- `developer` is OpenAI's newer word for `system`. A template that does not name it is given `system` instead, and then
  all system messages as one, in front: many templates take only that.
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

from jinja2 import TemplateError, nodes
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import _compile_jinja_template

from trainer.messages import text_of

Json = dict[str, Any]


class Reading(NamedTuple):
    """How a template reads messages."""

    parts: bool
    developer: bool


class Dialect:
    """The dialect of one tokenizer's templates; it has more than one where `tools` have their own."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    def adapt(self, messages: list[Json], tools: list[Json] | None = None) -> list[Json]:
        """Messages that `trainer.messages.for_template` made, for the template that writes them with these tools."""
        reading = reading_of(self._tokenizer.get_chat_template(tools=tools))
        messages = [{**message, "content": _content(message, reading)} for message in messages]
        if not reading.developer and any(message["role"] == "developer" for message in messages):
            return _one_system([_as_system(message) for message in messages])
        return messages


@functools.lru_cache(maxsize=32)
def reading_of(template: str) -> Reading:
    return Reading(
        parts=_loops_over_content(template), developer='"developer"' in template or "'developer'" in template
    )


def _content(message: Json, reading: Reading) -> str | list[Json]:
    """A tool's result is text for every template."""
    content = message["content"]
    if message["role"] == "tool" or not reading.parts:
        return text_of(content)
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _as_system(message: Json) -> Json:
    if message["role"] != "developer":
        return message
    return {name: value for name, value in message.items() if name != "tools"} | {"role": "system"}


def _one_system(messages: list[Json]) -> list[Json]:
    system = [message for message in messages if message["role"] == "system"]
    if messages[0] is system[0] and len(system) == 1:
        return messages
    texts = [text_of(message["content"]) for message in system]
    merged: Json = {"role": "system", "content": "\n\n".join(text for text in texts if text)}
    return [merged, *(message for message in messages if message["role"] != "system")]


# ---- Does a template loop over a message's content?


def _loops_over_content(template: str) -> bool:
    """Whether there is a loop over `message.content`, `message` being the variable of a loop over `messages`; over a
    macro's parameter that is called with it; or over a variable named `content`."""
    try:
        tree = _compile_jinja_template(template).environment.parse(template)
    except TemplateError:
        return False  # it will say so itself when it is rendered
    turns = _turns(tree)
    within_macros: set[int] = set()
    for macro in tree.find_all(nodes.Macro):
        given = _parameters_with_content(tree, macro, turns)
        for loop in macro.find_all(nodes.For):
            within_macros.add(id(loop))
            if isinstance(loop.iter, nodes.Name) and loop.iter.name in given:
                return True
    return any(
        _is_content(loop.iter, turns)
        or (isinstance(loop.iter, nodes.Name) and loop.iter.name == "content" and id(loop) not in within_macros)
        for loop in tree.find_all(nodes.For)
    )


def _turns(tree: nodes.Template) -> set[str]:
    """Names of the loop variables that stand for one message."""
    lists = {"messages"}
    assignments = [(assign.target, _stripped(assign.node)) for assign in tree.find_all(nodes.Assign)]
    while True:
        more = {
            target.name
            for target, value in assignments
            if isinstance(target, nodes.Name) and isinstance(value, nodes.Name) and value.name in lists
        }
        if more <= lists:
            break
        lists |= more
    return {
        loop.target.name
        for loop in tree.find_all(nodes.For)
        if isinstance(loop.target, nodes.Name) and _named(_stripped(loop.iter)) in lists
    }


def _parameters_with_content(tree: nodes.Template, macro: nodes.Macro, turns: set[str]) -> set[str]:
    names = [argument.name for argument in macro.args]
    given: set[str] = set()
    for call in tree.find_all(nodes.Call):
        if _named(call.node) == macro.name:
            given |= {name for name, value in _bound(call, names) if name in names and _is_content(value, turns)}
    return given


def _bound(call: nodes.Call, names: list[str]) -> Iterator[tuple[str, nodes.Node]]:
    yield from zip(names, call.args, strict=False)
    yield from ((keyword.key, keyword.value) for keyword in call.kwargs if isinstance(keyword, nodes.Keyword))


def _is_content(node: nodes.Node, turns: set[str]) -> bool:
    node = _stripped(node)
    if isinstance(node, nodes.Getattr):
        return node.attr == "content" and _named(node.node) in turns
    if isinstance(node, nodes.Getitem):
        key = node.arg
        return isinstance(key, nodes.Const) and key.value == "content" and _named(node.node) in turns
    return False


def _stripped(node: nodes.Node) -> nodes.Node:
    """Without filters, tests and slices."""
    inner = node.node if isinstance(node, nodes.Filter | nodes.Test) else None
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        inner = node.node
    return node if inner is None else _stripped(inner)


def _named(node: nodes.Node) -> str | None:
    return node.name if isinstance(node, nodes.Name) else None
