"""Attention of one new token: grouped queries are folded into rows instead of copying every key and value.

transformers repeats keys and values for each query head of a group whenever there is a mask, which rows of unequal
length need. At decoding that copies the whole cache at every step and layer.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

FOLDED = "sdpa_folded"


def folded_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """transformers' "sdpa", with [rows, heads, 1, size] queries seen as [rows, key heads, heads of a group, size]."""
    rows, heads, length, size = query.shape
    one_mask = attention_mask is None or attention_mask.shape[1] == 1
    if length != 1 or heads == key.shape[1] or not one_mask or settings.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    folded = query.view(rows, key.shape[1], heads // key.shape[1], size)
    written = torch.nn.functional.scaled_dot_product_attention(
        folded, key, value, attn_mask=attention_mask, scale=settings.get("scaling")
    )
    return written.reshape(rows, 1, heads, value.shape[-1]), None


def use_folded_attention(model: Any) -> None:
    """For models that would use "sdpa"; others keep what they have."""
    if model.config.get_text_config(decoder=True)._attn_implementation == "sdpa":
        AttentionInterface.register(FOLDED, folded_attention)
        AttentionMaskInterface.register(FOLDED, sdpa_mask)
        model.set_attn_implementation(FOLDED)
