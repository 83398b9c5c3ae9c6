"""Files that unpack to far more than their size."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def parquet_bomb(directory: Path, *, value: int, rows: int) -> bytes:
    """A table that repeats one value of so many bytes in so many rows: stored once, in next to nothing."""
    path = directory / "bomb.parquet"
    values = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["a " * (value // 2)]))
    pq.write_table(pa.table({"question": values, "answer": values}), path, compression="zstd")
    content = path.read_bytes()
    path.unlink()
    return content
