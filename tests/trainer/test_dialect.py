from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

from trainer.data import Example
from trainer.dialect import Dialect
from trainer.engine.vocabulary import Vocabulary
from trainer.labels import ChatLabels

pytestmark = pytest.mark.train

MESSAGES = [
    {"role": "developer", "content": "green"},
    {"role": "user", "content": "blue"},
    {"role": "assistant", "content": "red"},
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
        tokenizer.chat_template += "{# developer #}"
        assert Dialect(tokenizer).adapt(MESSAGES)[0]["role"] == "developer"

    def test_developer_is_system_elsewhere(self, make_tokenizer: Callable[[str], Any]) -> None:
        assert Dialect(make_tokenizer("plain")).adapt(MESSAGES)[0]["role"] == "system"
