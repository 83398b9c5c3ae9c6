import pytest
import torch
from transformers import AutoModelForCausalLM, DynamicCache

from trainer.engine.attention import FOLDED, use_folded_attention

pytestmark = pytest.mark.train


@pytest.fixture
def models(nano_model):
    """(as transformers would run it, with folded attention)"""
    plain, folded = (AutoModelForCausalLM.from_pretrained(nano_model).eval() for _ in range(2))
    use_folded_attention(folded)
    assert folded.config._attn_implementation == FOLDED
    return plain, folded


def decoded(model, ids, mask):
    """Logits of the last tokens, each fed alone after a common beginning."""
    cache = DynamicCache(config=model.config)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    steps = []
    with torch.inference_mode():
        for start, end in ((0, 6), (6, 7), (7, 8), (8, 9)):
            output = model(
                ids[:, start:end],
                attention_mask=mask[:, :end],
                position_ids=positions[:, start:end],
                past_key_values=cache,
            )
            steps.append(output.logits[:, -1])
    return torch.stack(steps)


class TestFoldedAttention:
    def test_decodes_as_transformers_does(self, models):
        ids = torch.arange(20, 47).view(3, 9)
        padded = torch.ones_like(ids)
        padded[0, :4], padded[1, :2] = 0, 0
        for mask in (torch.ones_like(ids), padded):
            plain, folded = (decoded(model, ids, mask) for model in models)
            torch.testing.assert_close(folded, plain, rtol=1e-4, atol=1e-4)

    def test_a_model_with_its_own_attention_keeps_it(self, nano_model):
        model = AutoModelForCausalLM.from_pretrained(nano_model, attn_implementation="eager")
        use_folded_attention(model)
        assert model.config._attn_implementation == "eager"
