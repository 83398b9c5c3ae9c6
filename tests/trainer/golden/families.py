"""A tiny tokenizer for each template, made as the family's own is."""

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

HERE = Path(__file__).parent
CONVERSATIONS: dict[str, dict[str, Any]] = json.loads((HERE / "conversations.json").read_text(encoding="utf-8"))
TEMPLATES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((HERE / "templates").glob("*.jinja"))}

_CHATML = {"specials": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "eos": "<|im_end|>", "pad": "<|endoftext|>"}
FAMILIES: dict[str, dict[str, Any]] = {
    "chatml": _CHATML,
    "deepseek_r1": {"specials": ["<s>", "</s>", "<|User|>", "<|Assistant|>"], "bos": "<s>", "eos": "</s>"},
    "gemma": {
        "specials": ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>"],
        "bos": "<bos>",
        "eos": "<end_of_turn>",
        "pad": "<pad>",
        "sentencepiece": True,
    },
    "llama3": {
        "specials": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        "bos": "<|begin_of_text|>",
        "eos": "<|eot_id|>",
    },
    "mistral": {
        "specials": [
            "<unk>",
            "<s>",
            "</s>",
            "[INST]",
            "[/INST]",
            "[AVAILABLE_TOOLS]",
            "[/AVAILABLE_TOOLS]",
            "[TOOL_CALLS]",
            "[TOOL_RESULTS]",
            "[/TOOL_RESULTS]",
        ],
        "bos": "<s>",
        "eos": "</s>",
        "sentencepiece": True,
    },
    "qwen3": _CHATML,
}
PLAIN_TOKENS = {"chatml": ["<tool_call>", "</tool_call>"], "deepseek_r1": ["<think>", "</think>"]}
PLAIN_TOKENS["qwen3"] = PLAIN_TOKENS["chatml"] + PLAIN_TOKENS["deepseek_r1"]
"""Tokens of their own that are not special: they stay in the answer's text."""


def make_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """Trained on the templates' and the conversations' own text. Like the published ones, it adds the BOS token to a
    text that is tokenized with special tokens: a chat template writes it itself."""
    shape = FAMILIES[family]
    tokenizer = _sentencepiece(shape["specials"]) if shape.get("sentencepiece") else _byte_level(shape["specials"])
    if bos := shape.get("bos"):
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    tokenizer.add_tokens([AddedToken(token, special=False) for token in PLAIN_TOKENS.get(family, ())])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=shape.get("bos"),
        eos_token=shape["eos"],
        pad_token=shape.get("pad"),
        additional_special_tokens=shape["specials"],
    )
    fast.chat_template = TEMPLATES[family]
    return fast


def _corpus() -> list[str]:
    text = json.dumps(CONVERSATIONS, ensure_ascii=False)
    return [*TEMPLATES.values(), *[text] * 20, *["\n\n\n  \n"] * 50]


def _byte_level(specials: list[str]) -> Tokenizer:
    """The kind of Llama 3 and Qwen."""
    tokenizer = Tokenizer(models.BPE())
    words = Regex(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1024, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return tokenizer


def _sentencepiece(specials: list[str]) -> Tokenizer:
    """SentencePiece's kind, with a byte for what it does not know: Gemma, Mistral."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=1024, special_tokens=[*specials, *bytes_], limit_alphabet=100, show_progress=False
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return tokenizer
