"""Measures a starter model on chats it has not seen: `python -m trainer.starter.evaluate [MODEL_DIR]`.

For each kind of turn: the share of answers at temperature 0 that are exactly the expected one. Where a template leaves
a free choice ("name three colors"), an answer that is right but another one counts as wrong.
"""

import pathlib
import random
import sys
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainer.starter import STARTER, corpus

SEED, CHATS = 1_000_003, 200
"""Another seed than any that trains."""


def main(model_dir: pathlib.Path) -> None:
    """Prints one line for each kind of turn."""
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    for kind, chats in unseen().items():
        print(f"{kind}: {exact_match(model, tokenizer, chats):.3f} of {len(chats)}")  # noqa: T201


def unseen() -> dict[str, list[list[corpus.Message]]]:
    """Chats of one question each; `desk` has the fact in a system message, `support` has none."""
    rng = random.Random(SEED)  # noqa: S311 - not a secret
    groups = {name: corpus.read_groups(name) for name in corpus.SHARES}
    chats = {
        name: [corpus.one_turn(rng, name, rng.choice(group)) for _ in range(CHATS)] for name, group in groups.items()
    }
    return chats | {"desk": [corpus.desk_chat(rng, groups["support"]) for _ in range(CHATS)]}


def exact_match(model: Any, tokenizer: Any, chats: Sequence[list[corpus.Message]]) -> float:
    """The share of chats whose last message is what the model answers at temperature 0."""
    expected = [chat[-1]["content"].strip() for chat in chats]
    given = answers(model, tokenizer, [chat[:-1] for chat in chats])
    return sum(map(str.__eq__, expected, given)) / len(expected)


@torch.no_grad()
def answers(model: Any, tokenizer: Any, prompts: Sequence[list[corpus.Message]]) -> list[str]:
    """Answers at temperature 0 to lists of messages, in one batch."""
    texts = [tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True) for prompt in prompts]
    batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    output = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=64, do_sample=False)
    return [text.strip() for text in tokenizer.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True)]


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else STARTER)
