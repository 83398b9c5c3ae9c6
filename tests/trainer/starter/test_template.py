"""The starter model's chat template, in the tokenizer that is shipped."""

from typing import Any

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.train

from jinja2 import TemplateError  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

from trainer.starter import STARTER  # noqa: E402

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich"}}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CHAT: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be short."},
    {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]},
    {"role": "assistant", "content": " Hello! \n"},
    {"role": "user", "content": "What is the weather?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "rainy"}]},
    {"role": "assistant", "content": "It is sunny."},
]
RENDERED_CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Zürich"}}\n</tool_call>'


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(STARTER)


def rendered(tokenizer: Any, chat: list[dict[str, Any]], **options: Any) -> str:
    return tokenizer.apply_chat_template(chat, tokenize=False, **options)


class TestRendering:
    def test_roles(self, tokenizer: Any) -> None:
        assert rendered(tokenizer, CHAT) == (
            "<|im_start|>system\nBe short.<|im_end|>\n"
            "<|im_start|>user\nHi\nthere<|im_end|>\n"
            "<|im_start|>assistant\n Hello! \n<|im_end|>\n"
            "<|im_start|>user\nWhat is the weather?<|im_end|>\n"
            f"<|im_start|>assistant\n{RENDERED_CALL}\n{RENDERED_CALL}<|im_end|>\n"
            "<|im_start|>tool\n<tool_response>\nsunny\n</tool_response><|im_end|>\n"
            "<|im_start|>tool\n<tool_response>\nrainy\n</tool_response><|im_end|>\n"
            "<|im_start|>assistant\nIt is sunny.<|im_end|>\n"
        )

    def test_text_before_a_tool_call(self, tokenizer: Any) -> None:
        chat = [{"role": "assistant", "content": "I look.", "tool_calls": [CALL]}]
        assert rendered(tokenizer, chat) == f"<|im_start|>assistant\nI look.\n{RENDERED_CALL}<|im_end|>\n"

    def test_arguments_as_a_json_string(self, tokenizer: Any) -> None:
        function = {"name": "weather", "arguments": '{"city": "Zürich"}'}
        chat = [{"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}]
        assert RENDERED_CALL in rendered(tokenizer, chat)

    @pytest.mark.parametrize("role", ["system", "developer"])
    def test_tools_join_the_first_system_message(self, tokenizer: Any, role: str) -> None:
        text = rendered(tokenizer, [{"role": role, "content": "Be short."}, *CHAT[1:2]], tools=TOOLS)
        assert text.startswith("<|im_start|>system\nBe short.\n\n# Tools\n")
        assert text.count("<|im_start|>system") == 1
        assert '<tools>\n{"type": "function", "function": {"name": "weather"' in text

    def test_tools_without_a_system_message(self, tokenizer: Any) -> None:
        text = rendered(tokenizer, CHAT[1:2], tools=TOOLS)
        assert text.startswith("<|im_start|>system\n# Tools\n")
        assert text.endswith("<|im_end|>\n<|im_start|>user\nHi\nthere<|im_end|>\n")

    def test_content_as_parts_reads_like_text(self, tokenizer: Any) -> None:
        """vLLM hands over parts where a template can take them."""
        plain = [{"role": message["role"], "content": "text"} for message in CHAT]
        parts = [{**message, "content": [{"type": "text", "text": "text"}]} for message in plain]
        assert rendered(tokenizer, parts) == rendered(tokenizer, plain)

    def test_an_unknown_role_is_refused(self, tokenizer: Any) -> None:
        with pytest.raises(TemplateError, match="Unknown role"):
            rendered(tokenizer, [{"role": "robot", "content": "beep"}])


class TestTraining:
    def test_the_mask_covers_the_answers_and_their_end(self, tokenizer: Any) -> None:
        encoded = tokenizer.apply_chat_template(CHAT, return_dict=True, return_assistant_tokens_mask=True)
        marked = [token for token, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if mask]
        call = f"{RENDERED_CALL}\n{RENDERED_CALL}<|im_end|>"
        assert tokenizer.decode(marked) == f" Hello! \n<|im_end|>{call}It is sunny.<|im_end|>"

    @pytest.mark.parametrize("tools", [None, TOOLS])
    def test_every_beginning_of_a_chat_is_a_prefix_of_it(self, tokenizer: Any, tools: Any) -> None:
        whole = rendered(tokenizer, CHAT, tools=tools)
        for end in range(1, len(CHAT)):
            answering = CHAT[end]["role"] == "assistant"
            assert whole.startswith(rendered(tokenizer, CHAT[:end], tools=tools, add_generation_prompt=answering))


class TestTokenizer:
    def test_special_tokens(self, tokenizer: Any) -> None:
        assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.bos_token) == ("<|im_end|>", "<|endoftext|>", None)
        assert tokenizer.eos_token_id != tokenizer.pad_token_id

    @pytest.mark.parametrize("text", ["Hello there!", "  Zürich 日本 🙂\n\ttab", '{"a": [1, 23]}', "<tool_call>x"])
    def test_any_text_comes_back(self, tokenizer: Any, text: str) -> None:
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text

    def test_nothing_is_added_to_a_text(self, tokenizer: Any) -> None:
        text = rendered(tokenizer, CHAT)
        assert tokenizer(text)["input_ids"] == tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
