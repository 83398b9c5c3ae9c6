import pytest
from transformers import AutoTokenizer

from trainer.engine.refusals import Invalid
from trainer.engine.vocabulary import Vocabulary

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def tokenizer(nano_model):
    return AutoTokenizer.from_pretrained(nano_model)


@pytest.fixture
def vocabulary(tokenizer):
    return Vocabulary(tokenizer, frozenset({tokenizer.eos_token_id}))


class TestVocabulary:
    def test_encodes_and_decodes_as_the_tokenizer_does(self, vocabulary, tokenizer):
        text = "hello <|im_end|> naïve 🙂"
        ids = vocabulary.encode(text, special=False)
        assert ids == tokenizer(text, add_special_tokens=False).input_ids
        assert vocabulary.decode(ids) == tokenizer.decode(ids, skip_special_tokens=True)
        assert vocabulary.decode(ids, skip_special=False) == text

    def test_bytes_of_tokens_join_to_the_bytes_of_the_text(self, vocabulary):
        text = "naïve 🚀 語 <|im_end|>"
        ids = vocabulary.encode(text, special=False)
        assert b"".join(vocabulary.token_bytes(token) for token in ids) == text.encode()

    def test_renders_like_training(self, vocabulary, tokenizer):
        messages = [{"role": "user", "content": "hello"}]
        rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert vocabulary.render(messages, None) == rendered

    def test_without_a_template_chat_is_refused(self, nano_model):
        bare = AutoTokenizer.from_pretrained(nano_model)
        bare.chat_template = None
        with pytest.raises(Invalid, match="no chat template"):
            Vocabulary(bare, frozenset()).render([{"role": "user", "content": "hello"}], None)
