from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

from trainer.data import Example
from trainer.dialect import Dialect, reading_of
from trainer.engine.vocabulary import Vocabulary
from trainer.labels import ChatLabels

pytestmark = pytest.mark.train

MESSAGES = [
    {"role": "developer", "content": "green"},
    {"role": "user", "content": "blue"},
    {"role": "assistant", "content": "red"},
]

PARTS = [
    {"role": "user", "content": [{"type": "text", "text": text} for text in ("a", "", "b")]},
    {"role": "assistant", "content": []},
]


class TestDialect:
    @pytest.mark.parametrize("template", ["plain", "generation", "end_outside", "bos", "parts", "closing"])
    def test_the_engine_reads_what_training_wrote(self, template: str, make_tokenizer: Callable[[str], Any]) -> None:
        tokenizer = make_tokenizer(template)
        trained = ChatLabels(tokenizer).label([Example(1, MESSAGES, (2,), None)], 512, "training_file").input_ids[0]
        engine = Vocabulary(tokenizer, frozenset())
        prompt = engine.encode(engine.render(MESSAGES[:2], None), special=False)
        assert trained[: len(prompt)].tolist() == prompt

    def test_developer_stays_where_the_template_knows_it(self, make_tokenizer: Callable[[str], Any]) -> None:
        tokenizer = make_tokenizer("plain")
        tokenizer.chat_template += "{# 'developer' #}"
        assert Dialect(tokenizer).adapt(MESSAGES)[0]["role"] == "developer"

    def test_developer_is_system_elsewhere(self, make_tokenizer: Callable[[str], Any]) -> None:
        developer = {**MESSAGES[0], "tools": None, "name": "bob"}
        (system,) = Dialect(make_tokenizer("plain")).adapt([developer])
        assert system == {"role": "system", "content": "green", "name": "bob"}

    @pytest.mark.parametrize("template", ["plain", "parts"])
    def test_then_all_system_messages_are_one_in_front(self, template: str, make_tokenizer) -> None:
        messages = [MESSAGES[1], {"role": "system", "content": "a"}, {"role": "system", "content": ""}, MESSAGES[0]]
        adapted = Dialect(make_tokenizer(template)).adapt(messages)
        assert adapted[0] == {"role": "system", "content": "a\n\ngreen"}
        assert [message["role"] for message in adapted] == ["system", "user"]

    def test_without_a_developer_system_messages_stay_where_they_are(self, make_tokenizer) -> None:
        messages = [MESSAGES[1], {"role": "system", "content": "a"}]
        assert Dialect(make_tokenizer("plain")).adapt(messages) == messages

    def test_content_is_text_for_templates_that_read_text(self, make_tokenizer) -> None:
        assert [message["content"] for message in Dialect(make_tokenizer("plain")).adapt(PARTS)] == ["a\nb", ""]

    def test_content_is_parts_for_templates_that_loop_over_it(self, make_tokenizer) -> None:
        adapted = Dialect(make_tokenizer("parts")).adapt([*PARTS, MESSAGES[1], {"role": "tool", "content": "x"}])
        written = {"type": "text", "text": "blue"}
        assert [message["content"] for message in adapted] == [PARTS[0]["content"], [], [written], "x"]


LOOPS = {
    "{% for m in messages %}{{ m.content }}{% endfor %}": False,
    "{% for m in messages %}{% for part in m.content %}{% endfor %}{% endfor %}": True,
    "{% for m in messages %}{% for part in m['content'] | list %}{% endfor %}{% endfor %}": True,
    "{% for m in messages[1:] %}{% for part in m['content'] %}{% endfor %}{% endfor %}": True,
    "{% set loop_messages = messages[1:] %}{% set l = loop_messages %}"
    "{% for m in l %}{% for part in m.content %}{% endfor %}{% endfor %}": True,
    "{% for m in messages %}{% set content = m.content %}{% for part in content %}{% endfor %}{% endfor %}": True,
    "{% for m in messages %}{% for call in m.tool_calls %}{% endfor %}{% endfor %}": False,
    "{% for tool in tools %}{% for part in tool.content %}{% endfor %}{% endfor %}": False,
    "{% macro write(c) %}{% for part in c %}{% endfor %}{% endmacro %}"
    "{% for m in messages %}{{ write(m.content) }}{% endfor %}": True,
    "{% macro write(x, c) %}{% for part in c %}{% endfor %}{% endmacro %}"
    "{% for m in messages %}{{ write(1, c=m.content) }}{% endfor %}": True,
    "{% macro write(content) %}{% for part in content %}{% endfor %}{% endmacro %}"
    "{% for m in messages %}{{ write(m.tool_calls) }}{% endfor %}": False,
    "{% for m in messages %}{% generation %}{% for p in m.content %}{% break %}{% endfor %}{% endgeneration %}"
    "{% endfor %}": True,
    "{% if broken": False,
}
"""Template -> whether it reads content in parts. `tests/vllm` asks vLLM the same."""


class TestReading:
    @pytest.mark.parametrize("template", LOOPS)
    def test_a_loop_over_content_takes_parts(self, template: str) -> None:
        assert reading_of(template).parts is LOOPS[template]

    def test_a_developer_is_known_by_its_name_in_quotes(self) -> None:
        assert reading_of("{% if m.role == 'developer' %}").developer
        assert reading_of('{% if m.role == "developer" %}').developer
        assert not reading_of("{# for developers: developer #}").developer
