"""sacreBLEU's tokens and its score of a sentence. It brings an XML parser and more along: imported where it is asked for."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
from sacrebleu.tokenizers.tokenizer_char import TokenizerChar
from sacrebleu.tokenizers.tokenizer_re import TokenizerRegexp
from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

from judges.words import is_wordless

_CACHING: tuple[Any, ...] = (Tokenizer13a, TokenizerZh, TokenizerChar, TokenizerRegexp)
_TOKENIZERS: dict[str, Callable[[str], str]] = {"13a": Tokenizer13a(), "zh": TokenizerZh(), "char": TokenizerChar()}
"""None of these downloads anything."""
_BLEU = BLEU(tokenize="none", smooth_method="exp", effective_order=True, force=True)

_han = re.compile("[\u3400-\u9fff]")
_kana = re.compile("[\u3040-\u30ff]")


def sentence_score(hypothesis: Sequence[str], reference: Sequence[str]) -> float:
    """BLEU of one sentence's tokens, 0 to 1."""
    return _BLEU.sentence_score(" ".join(hypothesis), [" ".join(reference)]).score / 100


def tokenized(hypothesis: str, reference: str) -> tuple[list[str], list[str]]:
    """Both as sacreBLEU splits them. It keeps the last 65,536 texts in memory, of any size: they are dropped here."""
    tokenize = _TOKENIZERS[_tokenizer(reference)]
    try:
        return tokenize(hypothesis.rstrip()).split(), tokenize(reference.rstrip()).split()
    finally:
        for kind in _CACHING:
            kind.__call__.cache_clear()


def _tokenizer(reference: str) -> str:
    """13a splits at spaces: a Chinese sentence would be one token, and every BLEU 0 or 100."""
    if _kana.search(reference):
        return "char"
    if _han.search(reference):
        return "zh"
    return "char" if is_wordless(reference) else "13a"
