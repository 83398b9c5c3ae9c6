from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from tokenizers import ByteLevelBPETokenizer
from transformers import PreTrainedTokenizerFast

from tests.trainer.conftest import SPECIAL
from tests.trainer.jobs import chat, write_jsonl
from trainer.contract import Failed
from trainer.data import Example, read_examples
from trainer.failures import TrainingFailed
from trainer.labels import IGNORED, ChatLabels, Labelled

pytestmark = pytest.mark.train

Label = Callable[..., Labelled]

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}


@pytest.fixture
def label(tmp_path: Path, make_tokenizer: Callable[[str], Any]) -> Label:
    def with_template(template: str, *examples: dict[str, Any], context: int = 512) -> Labelled:
        read = read_examples(write_jsonl(tmp_path / "training.jsonl", list(examples)), "training_file")
        return ChatLabels(make_tokenizer(template)).label(read, context, "training_file")

    return with_template


@pytest.fixture
def refusal(label: Label):
    def refuse(template: str, *examples: dict[str, Any]) -> Failed:
        with pytest.raises(TrainingFailed) as failure:
            label(template, *examples)
        return failure.value.failed

    return refuse


@pytest.fixture
def learned(make_tokenizer: Callable[[str], Any]):
    """The text that carries loss, with a bar between its parts."""

    def text(labelled: Labelled, index: int = 0) -> str:
        parts: list[list[int]] = [[]]
        for token in labelled.labels[index].tolist():
            if token != IGNORED:
                parts[-1].append(token)
            elif parts[-1]:
                parts.append([])
        return "|".join(make_tokenizer("plain").decode(part) for part in parts if part)

    return text


ALL = ["plain", "generation", "end_outside", "bos", "parts"]


class TestIds:
    @pytest.mark.parametrize("template", ALL)
    def test_are_those_of_the_chat_template(self, label: Label, make_tokenizer, template: str):
        example = chat("what is the sky?", "blue", "and the grass?", "green")
        messages = example["messages"]
        if template == "parts":
            messages = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in messages]
        expected = make_tokenizer(template).apply_chat_template(messages, return_dict=False)
        assert label(template, example).input_ids[0].tolist() == expected

    def test_have_exactly_one_bos(self, label: Label):
        ids = label("bos", chat("hello", "hi")).input_ids[0].tolist()
        assert ids[0] == 0
        assert ids.count(0) == 1

    def test_are_golden(self, label: Label, make_tokenizer):
        """Written out by hand: <|im_start|> is 1, <|im_end|> is 2."""
        tokenizer = make_tokenizer("plain")
        newline, user, assistant = (tokenizer.encode(text) for text in ("\n", "user", "assistant"))
        red, blue = tokenizer.encode("red"), tokenizer.encode("blue")
        labelled = label("plain", chat("red", "blue"))
        prompt = [1, *user, *newline, *red, 2, *newline, 1, *assistant, *newline]
        assert labelled.input_ids[0].tolist() == [*prompt, *blue, 2, *newline]
        assert labelled.labels[0].tolist() == [IGNORED] * len(prompt) + [*blue, 2] + [IGNORED] * len(newline)


class TestLoss:
    @pytest.mark.parametrize("template", ALL)
    def test_is_on_every_answer_and_its_end(self, label: Label, learned, template: str):
        labelled = label(template, chat("what is the sky?", "blue", "and the grass?", "green"))
        assert learned(labelled) == "blue<|im_end|>|green<|im_end|>"
        assert labelled.unending == 0

    @pytest.mark.parametrize("template", ALL)
    def test_leaves_out_weight_zero(self, label: Label, learned, template: str):
        example = chat("what is the sky?", "green", "no!", "blue")
        example["messages"][1]["weight"] = 0
        assert learned(label(template, example)) == "blue<|im_end|>"

    @pytest.mark.parametrize("template", ["plain", "generation"])
    def test_is_on_tool_calls_written_as_objects(self, label: Label, learned, template: str):
        messages = [
            {"role": "user", "content": "what is the weather?"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "red"},
            {"role": "assistant", "content": "It is red."},
        ]
        tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
        labelled = label(template, {"messages": messages, "tools": tools})
        call = '<tool_call>{"arguments": {"city": "Paris"}, "name": "weather"}</tool_call>'
        assert learned(labelled) == f"{call}<|im_end|>|It is red.<|im_end|>"

    @pytest.mark.parametrize("template", ALL)
    @pytest.mark.parametrize("text", [" It is  red. \n", "é 漢字 🌹", ""])
    def test_finds_any_text(self, label: Label, learned, template: str, text: str):
        assert learned(label(template, chat("user assistant", text))) == f"{text}<|im_end|>"

    @pytest.mark.parametrize("template", [*ALL, "head_inside"])
    def test_is_on_a_conversation_that_begins_with_the_answer(self, label: Label, learned, template: str):
        labelled = label(template, {"messages": [{"role": "assistant", "content": "blue"}]})
        assert learned(labelled) == "blue<|im_end|>"

    def test_is_not_on_what_the_model_is_given(self, label: Label, learned):
        labelled = label("head_inside", chat("the sky?", "blue", "and grass?", "green"))
        assert learned(labelled) == "blue<|im_end|>|green<|im_end|>"

    def test_a_token_that_closes_the_conversation_does_no_harm(self, label: Label, learned):
        assert learned(label("closing", chat("the sky?", "blue", "and grass?", "green"))) == (
            "blue<|im_end|>|green<|im_end|>\n<|endoftext|>"
        )

    def test_an_answer_without_end_is_counted(self, label: Label, learned):
        labelled = label("endless", chat("the sky?", "blue"))
        assert learned(labelled).strip() == "blue"
        assert labelled.unending == 1


class TestRoles:
    def test_developer_is_system_where_the_template_knows_no_developer(self, label: Label, make_tokenizer):
        example = chat("hello", "hi")
        example["messages"].insert(0, {"role": "developer", "content": "green"})
        text = make_tokenizer("plain").decode(label("plain", example).input_ids[0])
        assert text.startswith("<|im_start|>system\ngreen<|im_end|>")

    def test_each_example_has_its_own_tools(self, label: Label, make_tokenizer):
        tools = [{"type": "function", "function": {"name": "weather"}}]
        labelled = label("plain", chat("hello", "hi", tools=tools), chat("hello", "hi"))
        texts = [make_tokenizer("plain").decode(ids) for ids in labelled.input_ids]
        assert ["weather" in text for text in texts] == [True, False]


class TestRefusals:
    def test_a_thought_that_is_opened_but_not_given(self, refusal):
        failed = refusal("thinks_first", chat("hello", "<think>\nwell\n</think>\n\nhi"), chat("hello", "hi"))
        assert (failed.code, failed.param) == ("invalid_training_file", "training_file")
        assert failed.message.startswith("Line 2: ")
        assert "begins the answer that it asks for differently from messages[1]" in failed.message
        assert "Begin the content with the thought and its closing tag, give the message weight 0" in failed.message

    def test_blocks_that_hold_another_answer_than_is_asked_for(self, refusal):
        assert "differently from messages[1]" in refusal("asks_otherwise", chat("hello", "hi")).message

    def test_tool_calls_that_the_template_leaves_out(self, refusal):
        failed = refusal(
            "bos", {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [CALL]}]}
        )
        assert failed.message == "Line 1: the base model's chat template does not write the tool calls of messages[1]."

    def test_content_that_the_template_leaves_out(self, make_tokenizer):
        tokenizer = make_tokenizer("plain")
        tokenizer.chat_template = "{% for message in messages %}{{ message.role }}<|im_end|>{% endfor %}"
        tokenizer.chat_template += "{% if add_generation_prompt %}assistant{% endif %}"
        example = Example(1, chat("hello", "hi")["messages"], (1,), None)
        with pytest.raises(TrainingFailed, match=r"does not write the content of messages\[1\]"):
            ChatLabels(tokenizer).label([example], 512, "training_file")

    def test_a_conversation_that_the_template_refuses(self, refusal):
        failed = refusal("bos", {"messages": [{"role": "tool", "content": "x"}, {"role": "assistant", "content": "y"}]})
        assert "Line 1" in failed.message
        assert "unknown role" in failed.message

    def test_a_model_without_chat_template(self, make_tokenizer):
        tokenizer = make_tokenizer("plain")
        tokenizer.chat_template = None
        with pytest.raises(TrainingFailed, match="no chat template"):
            ChatLabels(tokenizer)


class TestTemplatesThatRewrite:
    """A text of its own for each answer, as it is asked for."""

    def test_every_answer_is_trained_in_a_text_that_ends_with_it(self, label: Label, learned, make_tokenizer):
        labelled = label("thinking", chat("the sky?", "blue", "and grass?", "green"), chat("hello", "hi"))
        assert [learned(labelled, at) for at in range(3)] == [
            "<think></think>blue<|im_end|>",
            "<think></think>green<|im_end|>",
            "<think></think>hi<|im_end|>",
        ]
        second = make_tokenizer("plain").decode(labelled.input_ids[1])
        assert second.count("<think>") == 1
        assert "assistant\nblue<|im_end|>" in second

    def test_they_are_counted(self, label: Label):
        answers = chat("the sky?", "blue", "and grass?", "green", "and a rose?", "red")
        labelled = label("thinking", answers, chat("hello", "hi"), chat("the sky?", "blue", "and grass?", "green"))
        summary = labelled.summary()
        assert (summary.examples, summary.expanded, len(labelled.input_ids)) == (3, 2, 6)
        assert summary.tokens == sum(map(len, labelled.input_ids))

    def test_each_goes_on_from_what_is_asked(self, label: Label, make_tokenizer):
        tokenizer = make_tokenizer("thinking")
        example = chat("the sky?", "blue", "and grass?", "green")
        labelled = label("thinking", example)
        for at, ids in zip((1, 3), labelled.input_ids, strict=True):
            asked = tokenizer.apply_chat_template(
                example["messages"][:at], add_generation_prompt=True, return_dict=False
            )
            assert ids[: len(asked)].tolist() == asked

    def test_answers_that_are_not_trained_need_no_text(self, label: Label, learned):
        example = chat("the sky?", "blue", "and grass?", "green")
        example["messages"][1]["weight"] = 0
        labelled = label("thinking", example)
        assert (len(labelled.input_ids), labelled.expanded) == (1, 0)
        assert learned(labelled) == "<think></think>green<|im_end|>"

    def test_a_cut_or_an_end_that_is_missing_is_counted_once_an_example(self, label: Label):
        labelled = label("thinking", chat("the sky?", "blue " * 30, "and grass?", "green " * 30), context=20)
        assert (labelled.truncated, labelled.examples, labelled.skipped) == (1, 1, 0)
        assert [len(ids) for ids in labelled.input_ids] == [20]  # the second question alone is longer

    def test_a_system_message_that_moves_to_the_front(self, label: Label, make_tokenizer):
        """A later developer's word is not there yet when the first answer is asked for."""
        example = chat("the sky?", "blue", "and grass?", "green")
        example["messages"].insert(2, {"role": "developer", "content": "be brief"})
        first, second = (make_tokenizer("plain").decode(ids) for ids in label("plain", example).input_ids)
        assert first.startswith("<|im_start|>user\nthe sky?")
        assert second.startswith("<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nthe sky?")


class TestOpenedThoughts:
    """The prompt ends with `<think>` and a line end; the template forgets thoughts once they are given."""

    GOES_ON = "well\n</think>\n\nhi"

    @pytest.mark.parametrize("content", [f"<think>\n{GOES_ON}", f"<think>{GOES_ON}", GOES_ON, f"{GOES_ON} \n"])
    def test_an_answer_with_its_thought_goes_on(self, label: Label, learned, content: str):
        assert learned(label("thinks_first", chat("hello", content))) == f"{self.GOES_ON}<|im_end|>"

    def test_reasoning_is_the_thought(self, label: Label, learned):
        example = chat("hello", "hi")
        example["messages"][1]["reasoning_content"] = "well"
        assert learned(label("thinks_first", example)) == f"{self.GOES_ON}<|im_end|>"

    def test_tool_calls_follow(self, label: Label, learned):
        example = chat("hello", "well</think>")
        example["messages"][1]["tool_calls"] = [CALL]
        assert learned(label("thinks_first", example)) == (
            'well</think><tool_call>{"arguments": {"city": "Paris"}, "name": "weather"}</tool_call><|im_end|>'
        )

    def test_the_text_before_is_what_is_asked(self, label: Label, make_tokenizer):
        example = chat("the sky?", self.GOES_ON, "and grass?", self.GOES_ON)
        texts = [make_tokenizer("plain").decode(ids) for ids in label("thinks_first", example).input_ids]
        asked = "<|im_start|>user\nthe sky?<|im_end|>\n<|im_start|>assistant\n"
        again = "hi<|im_end|>\n<|im_start|>user\nand grass?<|im_end|>\n<|im_start|>assistant\n"
        written = f"<think>\n{self.GOES_ON}<|im_end|>\n"
        assert texts == [asked + written, asked + again + written]

    def test_weight_zero_takes_such_an_answer_out(self, label: Label, learned):
        example = chat("hello", "hi", "the sky?", self.GOES_ON)
        example["messages"][1]["weight"] = 0
        assert learned(label("thinks_first", example)) == f"{self.GOES_ON}<|im_end|>"


class TestTokensAreNeverShared:
    """A token that held the end of what is asked and the beginning of the answer would be seen in training alone."""

    @pytest.fixture
    def merging(self, make_tokenizer):
        tokenizer = make_tokenizer("plain")
        tokenizer.add_tokens(["\n\n"])
        return tokenizer

    def sequences(self, tokenizer, *turns: str):
        example = Example(1, chat(*turns)["messages"], tuple(range(1, len(turns), 2)), None)
        return list(ChatLabels(tokenizer).tokens([example], "training_file")), example

    def test_an_answer_that_begins_with_a_line_end(self, merging):
        ((_, ids, labels, ended),), example = self.sequences(merging, "hello", "\nhi")
        asked = merging.apply_chat_template(example.messages[:1], add_generation_prompt=True, return_dict=False)
        assert ids[: len(asked)].tolist() == asked
        assert (labels[: len(asked)] == IGNORED).all()
        assert merging.decode(labels[labels != IGNORED]) == "\nhi<|im_end|>"
        assert ended

    def test_a_text_that_asks_whose_end_depends_on_what_follows(self, make_tokenizer):
        """GPT-2 splits two line ends before a word, but not at the end of a text."""
        gpt2 = ByteLevelBPETokenizer()
        gpt2.train_from_iterator(["hello blue\n\n"] * 9, vocab_size=300, special_tokens=SPECIAL, show_progress=False)
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=gpt2._tokenizer, eos_token="<|im_end|>")
        tokenizer.chat_template = make_tokenizer("plain").chat_template.replace("\\n", "\\n\\n").replace("\n", "\n\n")
        ((_, ids, labels, _),), example = self.sequences(tokenizer, "hello", "blue")
        asked = tokenizer.apply_chat_template(example.messages[:1], add_generation_prompt=True, return_dict=False)
        joint = tokenizer.apply_chat_template(example.messages, return_dict=False)
        assert joint[: len(asked)] != asked, "the tokenizer does not do what this test is about"
        assert ids[: len(asked)].tolist() == asked
        assert tokenizer.decode(labels[labels != IGNORED]) == "blue<|im_end|>"

    def test_one_such_answer_among_others(self, merging):
        sequences, example = self.sequences(merging, "hello", "\nhi", "the sky?", "blue")
        for at, (_, ids, labels, _) in zip((1, 3), sequences, strict=True):
            asked = merging.apply_chat_template(example.messages[:at], add_generation_prompt=True, return_dict=False)
            assert ids[: len(asked)].tolist() == asked
            assert (labels[: len(asked)] == IGNORED).all()
            assert labels[len(asked)] != IGNORED


class TestTokens:
    def test_come_with_their_example_one_by_one(self, tmp_path: Path, make_tokenizer):
        path = write_jsonl(tmp_path / "training.jsonl", [chat("red", "blue"), chat("the sky?", "blue " * 50)])
        tokens = list(ChatLabels(make_tokenizer("plain")).tokens(read_examples(path, "training_file"), "training_file"))
        assert [one.example.line for one in tokens] == [1, 2]
        assert all(len(one.ids) == len(one.labels) and one.ended for one in tokens)

    def test_are_those_that_are_trained_on(self, label: Label, tmp_path: Path, make_tokenizer):
        path = write_jsonl(tmp_path / "tokens.jsonl", [chat("red", "blue")])
        (one,) = ChatLabels(make_tokenizer("plain")).tokens(read_examples(path, "training_file"), "training_file")
        labelled = label("plain", chat("red", "blue"))
        assert one.ids.tolist() == labelled.input_ids[0].tolist()
        assert one.labels.tolist() == labelled.labels[0].tolist()


class TestCounts:
    def test_long_examples_are_cut_at_the_end(self, label: Label):
        example = chat("hello", "It is red. " * 20)
        whole = label("plain", example).input_ids[0]
        labelled = label("plain", example, chat("hello", "hi"), context=30)
        summary = labelled.summary()
        assert labelled.input_ids[0].tolist() == whole[:30].tolist()
        assert (summary.examples, summary.truncated, summary.skipped) == (2, 1, 0)
        assert summary.tokens == 30 + len(labelled.input_ids[1])

    def test_examples_without_a_label_left_are_skipped(self, label: Label):
        unweighted = chat("hello", "hi")
        unweighted["messages"][1]["weight"] = 0
        labelled = label("plain", chat("hello " * 50, "hi"), unweighted, chat("hello", "hi"), context=30)
        summary = labelled.summary()
        assert (summary.examples, summary.truncated, summary.skipped) == (3, 1, 2)
        assert summary.tokens == len(labelled.input_ids[0])
        assert len(labelled.input_ids) == 1

    def test_label_tokens_are_those_that_are_predicted(self, label: Label, make_tokenizer):
        summary = label("plain", chat("hello", "blue")).summary()
        assert summary.label_tokens == len(make_tokenizer("plain").encode("blue")) + 1

    def test_more_examples_than_one_call_takes(self, label: Label, learned):
        labelled = label("plain", *[chat("hello", f"{number}") for number in range(600)])
        assert labelled.examples == 600
        assert learned(labelled, 599) == "599<|im_end|>"
