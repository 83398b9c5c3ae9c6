"""What the reference model gives every answer, kept in the job's directory for training type full.

There the model that training starts from is the reference, and it is gone after the first step. So its log-probabilities
are computed once, before that step, instead of keeping a second model in memory. A file that is damaged, or that was made
of another model or of other pairs, is as good as none: the numbers are computed again from the model on the disk.

    JOB_DIR/reference.bin    sha256 of all that follows; sha256 of model and pairs; float32 values, two for each pair
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainer.durable import write_atomically
from trainer.pairs import Pairs, References

FILE = "reference.bin"
_DIGEST = hashlib.sha256().digest_size


def source(model_hash: str, pairs: Sequence[Pairs]) -> bytes:
    """Of everything that the values depend on."""
    digest = hashlib.sha256(model_hash.encode())
    for row in (row for one in pairs for row in one.rows):
        for tokens in row:
            digest.update(len(tokens).to_bytes(8, "little") + tokens.tobytes())
    return digest.digest()


def load(path: Path, source: bytes) -> References | None:
    """[pairs, 2], or None where there are none of this source."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, rest = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(rest).digest() != digest or not rest.startswith(source):
        return None
    return np.frombuffer(rest[_DIGEST:], dtype="<f4").reshape(-1, 2).copy()


def save(path: Path, source: bytes, values: References) -> None:
    rest = source + values.astype("<f4").tobytes()
    write_atomically(path, hashlib.sha256(rest).digest() + rest)
