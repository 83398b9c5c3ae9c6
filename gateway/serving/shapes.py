"""Whether an adapter's matrices fit the base that the engine serves, by the headers of both files; no weights are read.

vLLM 0.32 loads an adapter of another base without a word and answers nonsense with it. So this is looked at before, and
an adapter without a probe of the trainer's is found out, too.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

LARGEST_HEADER = 64 * 2**20
_length = 8
_lora = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<part>[AB])\.weight")


class _Tensor(msgspec.Struct):
    shape: list[int]


def misfit(adapter: Path, base: Path) -> str | None:
    """The first matrix of an adapter that does not fit its layer, as a sentence; None where all fit, or nothing is known
    of the layers (a base that lies elsewhere, or is quantized: then the probe decides).

    Args:
        adapter, base: directories. Of the base, *.safetensors with the names that Transformers gives.
    """
    try:
        layers = {name: shape for file in sorted(base.glob("*.safetensors")) for name, shape in _shapes(file)}
        return _first_misfit(adapter / "adapter_model.safetensors", layers)
    except (OSError, ValueError):  # whoever loads it says what is wrong
        return None


def _first_misfit(adapter: Path, layers: dict[str, list[int]]) -> str | None:
    for name, shape in _shapes(adapter):
        match = _lora.fullmatch(name)
        layer = layers.get(f"{match['module']}.weight") if match else None
        if match is None or layer is None or len(layer) != 2 or len(shape) != 2:
            continue
        outputs, inputs = layer
        fits = shape[1] == inputs if match["part"] == "A" else shape[0] == outputs
        if not fits:
            return f"{name} has shape {shape}, and the base's {match['module']} is {layer}."
    return None


def _shapes(file: Path) -> Iterator[tuple[str, list[int]]]:
    """Of every tensor in a safetensors file: 8 bytes of length, then a JSON object. Raises OSError, ValueError."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(_length), "little")
        if not 0 < length <= LARGEST_HEADER:
            raise ValueError(f"{file} is no safetensors file")
        header: dict[str, msgspec.Raw] = msgspec.json.decode(opened.read(length), type=dict[str, msgspec.Raw])
    for name, told in header.items():
        if name != "__metadata__":
            yield name, msgspec.json.decode(told, type=_Tensor).shape
