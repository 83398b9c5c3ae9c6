"""Rows of datasets as the API shows them."""

from typing import Any

import msgspec

from gateway.db.tables import DatasetItemRow, DatasetRow, DatasetVersionRow
from gateway.kit.clock import unix
from gateway.protocol.dataset_versions import Dataset, DatasetItem, DatasetVersion, Failure, Progress
from gateway.protocol.recipes import Recipe


def dataset(row: DatasetRow, newest: DatasetVersionRow | None) -> Dataset:
    return Dataset(
        id=row.id,
        created_at=unix(row.created_at),
        updated_at=unix(row.updated_at),
        name=row.name,
        description=row.description,
        metadata=row.request_metadata,
        latest_version=version(newest) if newest is not None else None,
    )


def version(row: DatasetVersionRow) -> DatasetVersion:
    report: dict[str, Any] = row.report or {}
    return DatasetVersion(
        id=row.id,
        dataset_id=row.dataset_id,
        version=row.number,
        created_at=unix(row.created_at),
        created_by=row.created_by,
        snapshot_at=unix(row.snapshot_at),
        status=row.status,  # type: ignore[arg-type]
        progress=_progress(row),
        recipe=msgspec.convert(row.recipe, Recipe),
        training_file=row.training_file_id,
        validation_file=row.validation_file_id,
        training_rows=report["training"]["rows"] if report else None,
        validation_rows=report["validation"]["rows"] if report else None,
        content_sha256=row.content_sha256,
        finished_at=unix(row.finished_at) if row.finished_at else None,
        error=msgspec.convert(row.error, Failure) if row.error else None,
    )


def _progress(row: DatasetVersionRow) -> Progress | None:
    """Of one that is being built."""
    if row.status != "building" or not row.progress:
        return None
    return Progress(stage=row.progress["stage"], done=row.progress["done"], total=row.progress["total"])


def item_id(row: DatasetItemRow) -> str:
    return f"{row.split}-{row.number}"


def item(row: DatasetItemRow) -> DatasetItem:
    return DatasetItem(
        id=item_id(row),
        split=row.split,  # type: ignore[arg-type]
        line=row.number,
        kind=row.kind,  # type: ignore[arg-type]
        sha256=row.sha256,
        cluster=row.cluster,
        exchange_id=row.exchange_id,
        other_exchange_id=row.other_exchange_id,
        example_id=row.example_id,
        judgment_ids=row.judgment_ids,
        origin_model=row.origin_model,
        erased_at=unix(row.erased_at) if row.erased_at else None,
    )
