"""vLLM reads for a conversation what training wrote before each answer, for the golden families and for every template
that TRL ships; and what it makes of unusual messages is what the rules of `trainer/messages.py` make of them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import trl
from transformers import LlamaConfig

from tests.trainer.golden.answers import Call, asked_before
from tests.trainer.golden.families import CONVERSATIONS, FAMILIES, make_tokenizer
from tests.trainer.test_dialect import LOOPS
from trainer.data import InvalidLine
from trainer.dialect import reading_of
from trainer.engine import messages as rules
from trainer.engine.protocol import Tool
from trainer.engine.refusals import Invalid
from trainer.engine.vocabulary import Vocabulary
from trainer.failures import TrainingFailed
from trainer.labels import ChatLabels

pytestmark = [pytest.mark.vllm, pytest.mark.train, pytest.mark.slow]

PUBLISHED = {
    f"trl-{path.stem}": path.read_text()
    for path in sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
}
MODELS = [*FAMILIES, *PUBLISHED]
SIZES = {"hidden_size": 32, "num_attention_heads": 1, "intermediate_size": 32, "num_hidden_layers": 1}

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}

HELLO = {"role": "user", "content": "hello"}


def called(arguments: Any, **fields: Any) -> list[dict[str, Any]]:
    call = {"id": "call12345", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return [HELLO, {"role": "assistant", "content": None, "tool_calls": [call], **fields}, HELLO]


UNUSUAL: dict[str, Call] = {
    **{
        f"arguments {arguments!r}": {"messages": called(arguments)}
        for arguments in (
            "",
            " ",
            "{}",
            "[]",
            "42",
            "null",
            '"{}"',
            "{oops",
            '{"a": {"b": [1.0, 12345678901234567890]}}',
        )
    },
    **{
        f"content {content!r}": {"messages": [{"role": role, "content": content}, HELLO]}
        for role in ("user", "system")
        for content in ("", " a\r\nb\x00 ", [], [{"type": "text", "text": "a"}, {"type": "text", "text": ""}])
    },
    "content null with calls": {"messages": called("{}", content=None)},
    "content empty with calls": {"messages": called("{}", content="")},
    "content null alone": {"messages": [HELLO, {"role": "assistant", "content": None}, HELLO]},
    "no content": {"messages": [HELLO, {"role": "assistant"}, HELLO]},
    "no calls": {"messages": [HELLO, {"role": "assistant", "content": "a", "tool_calls": []}, HELLO]},
    "refusal": {"messages": [HELLO, {"role": "assistant", "content": None, "refusal": "no"}, HELLO]},
    "refusal part": {
        "messages": [HELLO, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, HELLO]
    },
    "reasoning": {"messages": [HELLO, {"role": "assistant", "content": "a", "reasoning_content": "r"}, HELLO]},
    "unknown fields": {
        "messages": [{**HELLO, "weight": 1, "x": 1}, {"role": "assistant", "content": "a", "weight": 0}, HELLO]
    },
    "tool result in parts": {
        "messages": [
            *called("{}")[:2],
            {"role": "tool", "tool_call_id": "call12345", "content": [{"type": "text", "text": "a"}] * 2},
        ]
    },
    "no user": {"messages": [{"role": "system", "content": "a"}]},
    "late system": {"messages": [HELLO, {"role": "system", "content": "a"}]},
    "developer": {"messages": [{"role": "developer", "content": "a", "tools": []}, HELLO]},
    "late developer": {"messages": [{"role": "system", "content": "a"}, HELLO, {"role": "developer", "content": "b"}]},
    "names": {"messages": [{"role": "system", "name": "s", "content": "a"}, {**HELLO, "name": "bob"}]},
    "special tokens": {"messages": [{"role": "user", "content": "<|im_end|></s><eos>"}]},
    "long": {"messages": [{"role": "user", "content": "word " * 100}]},
    "tool with nothing": {"messages": [HELLO], "tools": [{"type": "function", "function": {"name": "f"}}]},
    "tool with more": {
        "messages": [HELLO],
        "tools": [
            {
                "x": 1,
                "function": {"strict": False, "parameters": {"b": 1, "a": 2}, "name": "f", "x": 1},
                "type": "function",
            }
        ],
    },
}

HALF_A_PAIR = "half a surrogate pair"
WRITE_CALLS = {"chatml", "llama3", "mistral", "qwen3"}

REFUSED: dict[str, Call] = {
    "user null": {"messages": [{"role": "user", "content": None}]},
    "number": {"messages": [{"role": "user", "content": 5}]},
    "part without text": {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
    "part of unknown type": {"messages": [{"role": "user", "content": [{"type": "robot", "text": "a"}]}]},
    "text as part": {"messages": [{"role": "user", "content": ["a"]}]},
    "name": {"messages": [{"role": "user", "content": "a", "name": 5}]},
    "call without name": {
        "messages": [
            HELLO,
            {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"arguments": ""}}]},
        ]
    },
    "custom call": {
        "messages": [
            HELLO,
            {"role": "assistant", "tool_calls": [{"id": "1", "type": "custom", "custom": {"name": "f", "input": ""}}]},
        ]
    },
    "tool without name": {"messages": [HELLO], "tools": [{"type": "function", "function": {}}]},
    "tool parameters": {
        "messages": [HELLO],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}],
    },
    HALF_A_PAIR: {"messages": called('{"a": "\\ud83d"}')},
}


class Model:
    """A template with its tokenizer. The published templates share one: their special tokens are plain text to it."""

    def __init__(self, name: str) -> None:
        self.tokenizer = make_tokenizer(name if name in FAMILIES else "llama3")
        self.tokenizer.chat_template = PUBLISHED.get(name, self.tokenizer.chat_template)
        self.asked = [pair for conversation in CONVERSATIONS for pair in self._asked_before(conversation)]
        """Calls, and the ids that training has before their answers."""

    def _asked_before(self, conversation: str) -> list[tuple[Call, list[int]]]:
        try:
            asked = asked_before(ChatLabels(self.tokenizer), conversation)
        except (TrainingFailed, InvalidLine):
            return []
        # vLLM leaves out the deprecated function calls of earlier answers.
        return [pair for pair in asked if not any("function_call" in message for message in pair[0]["messages"])]

    def save(self, path: Path) -> Path:
        self.tokenizer.save_pretrained(path)
        config = LlamaConfig(vocab_size=len(self.tokenizer), architectures=["LlamaForCausalLM"], **SIZES)
        config.save_pretrained(path)
        return path

    def engine_reads(self, call: Call) -> list[int] | str:
        """-> the embedded engine's ids, or its refusal."""
        vocabulary = Vocabulary(self.tokenizer, frozenset())
        try:
            tools = rules.tools_for_template(
                [Tool(type=tool["type"], function=tool["function"]) for tool in call.get("tools", ())]
            )
            return vocabulary.encode(vocabulary.render(rules.for_template(call["messages"]), tools), special=False)
        except Invalid as refusal:
            return refusal.message

    def words(self, ids: list[int] | str) -> str:
        return ids if isinstance(ids, str) else "·".join(self.tokenizer.convert_ids_to_tokens(ids))


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    return {name: Model(name) for name in MODELS}


@pytest.fixture(scope="module")
def answers(models: dict[str, Model], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """vLLM's, from one process: by model in the order asked, unusual, refused; by template."""
    directory = tmp_path_factory.mktemp("vllm")
    questions = {
        "models": [
            {
                "path": str(model.save(directory / name)),
                "calls": [*(call for call, _ in model.asked), *UNUSUAL.values(), *REFUSED.values()],
            }
            for name, model in models.items()
        ],
        "templates": [*LOOPS, *PUBLISHED.values()],
    }
    (directory / "questions.json").write_text(json.dumps(questions))
    command = [sys.executable, "-m", "tests.vllm.rendering", "questions.json", "answers.json"]
    with (directory / "log").open("w") as log:
        done = subprocess.run(command, cwd=directory, env=ENVIRONMENT, stderr=log, stdout=log, check=False)
    assert done.returncode == 0, (directory / "log").read_text()[-3000:]
    replies = json.loads((directory / "answers.json").read_text())
    return {"models": dict(zip(models, replies["models"], strict=True)), "templates": replies["templates"]}


@pytest.mark.parametrize("name", MODELS)
class TestIds:
    def test_are_those_that_training_has_before_each_answer(self, models, answers, name: str):
        model = models[name]
        for (call, ids), read in zip(model.asked, answers["models"][name], strict=False):
            assert model.words(read) == model.words(ids), call

    def test_are_those_that_the_engine_reads_for_unusual_messages(self, models, answers, name: str):
        model = models[name]
        replies = answers["models"][name][len(model.asked) :]
        for (label, call), read in zip(UNUSUAL.items(), replies, strict=False):
            engine = model.engine_reads(call)
            if isinstance(read, str) and isinstance(engine, str):
                continue  # the template refuses it in both
            assert (label, model.words(engine)) == (label, model.words(read))

    def test_are_not_given_for_what_the_engine_refuses(self, models, answers, name: str):
        model = models[name]
        for (label, call), read in zip(REFUSED.items(), answers["models"][name][-len(REFUSED) :], strict=True):
            # vLLM reads it until a template writes it.
            assert isinstance(read, str) or (label == HALF_A_PAIR and name not in WRITE_CALLS), label
            assert isinstance(model.engine_reads(call), str), label


class TestConversations:
    @pytest.mark.parametrize("family", [family for family in FAMILIES if family != "deepseek_r1"])
    def test_most_are_compared(self, models, family: str):
        assert len(models[family].asked) >= 12

    def test_so_are_most_published_templates(self, models):
        assert sum(len(models[name].asked) >= 12 for name in PUBLISHED) > len(PUBLISHED) / 2


class TestTemplates:
    def test_read_content_in_parts_where_vllm_gives_them_parts(self, answers):
        templates = [*LOOPS, *PUBLISHED.values()]
        expected = {
            template: format == "openai" for template, format in zip(templates, answers["templates"], strict=True)
        }
        assert {template: reading_of(template).parts for template in templates} == expected
