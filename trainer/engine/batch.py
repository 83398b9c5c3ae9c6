"""The rows that decode together: their keys and values, and one step for all of them.

A row may join or leave between any two steps. Rows end at a shared column and are padded on the left, which every
transformers model with batched generation supports; rows of equal length need no mask at all, so one stream alone
costs what it costs in `generate`, less its growing copies.
"""

import copy
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer

from trainer.engine.choice import Choice

MERGEABLE = (DynamicLayer, DynamicSlidingWindowLayer)
"""Layers whose cache is nothing but keys and values in columns."""

COLUMNS = 64
"""Room for tokens grows in multiples of this."""


class Rows(Protocol):
    """Choices of one adapter that decode together."""

    choices: list[Choice]

    def join(self, cache: Cache, choices: list[Choice]) -> None:
        """Adds choices that share a prompt, whose keys and values are in `cache` (one row)."""
        ...

    def leave(self, choice: Choice) -> None: ...

    def step(self, model: Any) -> Tensor:
        """Feeds each row its last token. Returns logits [rows, vocabulary]."""
        ...


def rows_for(config: Any) -> Rows:
    """A Batch where every layer keeps plain keys and values, else (linear attention, state spaces) Singles."""
    layers = DynamicCache(config=config).layers
    plain = all(type(layer) in MERGEABLE for layer in layers)
    return Batch(len(layers)) if plain else Singles()


def prompt_cache(config: Any) -> Cache:
    """An empty cache to read a prompt into, of the kind that the rows of this model take over."""
    layers = DynamicCache(config=config).layers
    if isinstance(rows_for(config), Batch):
        # Full layers even under sliding-window attention: the mask does the sliding, and rows stay mergeable.
        return Cache(layers=[DynamicLayer() for _ in layers])
    return Cache(layers=layers)


class Window:
    """Which part of the buffers is in use: `count` rows, columns `start` to `end`."""

    def __init__(self) -> None:
        self.count = 0
        self.start = 0
        self.end = 0


class WindowLayer(CacheLayerMixin):
    """Keys and values of one layer, [rows, heads, columns, head size], with room to grow."""

    is_sliding = False
    if TYPE_CHECKING:
        keys: Any
        values: Any

    def __init__(self, window: Window) -> None:
        super().__init__()
        self._window = window

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        count, start, end = self._window.count, self._window.start, self._window.end
        self.keys[:count, :, end : end + 1] = key_states
        self.values[:count, :, end : end + 1] = value_states
        return self.keys[:count, :, start : end + 1], self.values[:count, :, start : end + 1]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: `reshape` makes the buffers."""

    def get_seq_length(self) -> int:
        return self._window.end - self._window.start

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        return -1

    def reshape(self, rows: int, columns: int, width: int, like: tuple[Tensor, Tensor]) -> None:
        """Moves the last `width` columns in use to the columns before `width` of new, zeroed buffers.

        Zeroed, because padding takes part in attention with weight 0, and 0 times NaN is NaN.
        """
        window, old = self._window, (self.keys, self.values) if self.is_initialized else None
        fresh = tuple(part.new_zeros(rows, part.shape[1], columns, part.shape[3]) for part in like)
        if old is not None:
            used = min(width, window.end)
            for part, former in zip(fresh, old, strict=True):
                part[: window.count, :, width - used : width] = former[
                    : window.count, :, window.end - used : window.end
                ]
        self.keys, self.values = fresh
        self.is_initialized = True


class Batch:
    """Rows with plain attention, in one forward pass a step."""

    def __init__(self, layers: int) -> None:
        self.choices: list[Choice] = []
        self._lengths: list[int] = []
        self._window = Window()
        self._layers = [WindowLayer(self._window) for _ in range(layers)]
        self._cache = Cache(layers=list(self._layers))

    @torch.inference_mode()
    def join(self, cache: Cache, choices: list[Choice]) -> None:
        length = cache.get_seq_length()
        self._make_room(len(choices), length, cache)
        first, end = self._window.count, self._window.end
        rows, columns = slice(first, first + len(choices)), slice(end - length, end)
        for layer, prompt in zip(self._layers, cache.layers, strict=True):
            layer.keys[rows, :, columns] = prompt.keys
            layer.values[rows, :, columns] = prompt.values
        self.choices.extend(choices)
        self._lengths.extend([length] * len(choices))
        self._window.count += len(choices)
        self._narrow()

    @torch.inference_mode()
    def leave(self, choice: Choice) -> None:
        """Takes a row out; the last row moves to its place."""
        row, last = self.choices.index(choice), len(self.choices) - 1
        if row != last:
            columns = slice(self._window.end - self._lengths[last], self._window.end)
            for layer in self._layers:
                layer.keys[row, :, columns] = layer.keys[last, :, columns]
                layer.values[row, :, columns] = layer.values[last, :, columns]
            self.choices[row], self._lengths[row] = self.choices[last], self._lengths[last]
        self.choices.pop()
        self._lengths.pop()
        self._window.count -= 1
        self._narrow()

    @torch.inference_mode()
    def step(self, model: Any) -> Tensor:
        if self._window.end >= self._layers[0].keys.shape[2]:
            self._reshape(self._layers[0].keys.shape[0], max(self._lengths))
        device = self._layers[0].keys.device
        output = model(
            input_ids=torch.tensor([[choice.last_token] for choice in self.choices], device=device),
            position_ids=torch.tensor([[length] for length in self._lengths], device=device),
            attention_mask=self._padding(device),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._window.end += 1
        self._lengths = [length + 1 for length in self._lengths]
        return output.logits[:, -1]

    def _padding(self, device: torch.device) -> Tensor | None:
        longest = max(self._lengths)
        if min(self._lengths) == longest:
            return None
        padding = torch.tensor([[longest - length] for length in self._lengths], device=device)
        return (torch.arange(longest + 1, device=device) >= padding).long()

    def _narrow(self) -> None:
        self._window.start = self._window.end - max(self._lengths, default=0)
        if not self._lengths:
            self._window.start = self._window.end = 0
            for layer in self._layers:
                layer.is_initialized = False
                layer.keys = layer.values = torch.empty(0)

    def _make_room(self, rows: int, length: int, cache: Cache) -> None:
        wanted = self._window.count + rows
        empty = not self._layers[0].is_initialized
        if empty or wanted > self._layers[0].keys.shape[0] or length > self._window.end:
            capacity = wanted if empty else max(wanted, min(2 * self._window.count, wanted + 8))
            self._reshape(capacity, max([length, *self._lengths]), cache)

    def _reshape(self, rows: int, width: int, like: Cache | None = None) -> None:
        columns = -(-(width + max(width // 2, COLUMNS)) // COLUMNS) * COLUMNS
        for at, layer in enumerate(self._layers):
            model_of = like.layers[at] if like is not None else layer
            layer.reshape(rows, columns, width, (model_of.keys, model_of.values))
        self._window.start, self._window.end = width - max(self._lengths, default=0), width


class Singles:
    """Rows of a model whose caches cannot be merged: one forward pass a row."""

    def __init__(self) -> None:
        self.choices: list[Choice] = []
        self._caches: dict[Choice, Cache] = {}

    @torch.inference_mode()
    def join(self, cache: Cache, choices: list[Choice]) -> None:
        for choice in choices:
            self._caches[choice] = copy.deepcopy(cache) if len(choices) > 1 else cache
            self.choices.append(choice)

    @torch.inference_mode()
    def leave(self, choice: Choice) -> None:
        self.choices.remove(choice)
        del self._caches[choice]

    @torch.inference_mode()
    def step(self, model: Any) -> Tensor:
        return torch.cat([self._step_one(model, choice) for choice in self.choices])

    def _step_one(self, model: Any, choice: Choice) -> Tensor:
        output = model(
            input_ids=torch.tensor([[choice.last_token]], device=model.device),
            past_key_values=self._caches[choice],
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1]
