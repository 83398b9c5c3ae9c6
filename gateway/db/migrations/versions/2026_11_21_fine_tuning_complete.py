"""fine tuning complete"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0002"
down_revision: str | Sequence[str] | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "training_hardware",
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("description", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_training_hardware")),
    )
    op.create_table(
        "training_speeds",
        sa.Column("base_model", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("training_type", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("tokens_per_second", sa.Double(), nullable=False),
        sa.Column("peak_memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("base_model", "method", "training_type", "device", name=op.f("pk_training_speeds")),
    )
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("filename", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("mime_type", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("file_expires_after", sa.BigInteger(), nullable=True),
        sa.Column("file_id", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_uploads_file_id_files")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_uploads_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_index("ix_uploads_status_expires_at", "uploads", ["status", "expires_at"], unique=False)
    op.create_table(
        "upload_parts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("upload_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.id"], name=op.f("fk_upload_parts_upload_id_uploads")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upload_parts")),
    )
    op.create_index(op.f("ix_upload_parts_upload_id"), "upload_parts", ["upload_id"], unique=False)
    op.create_table(
        "checkpoint_permissions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_checkpoint_permissions_model_id_models")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_checkpoint_permissions_project_id_projects")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoint_permissions")),
        sa.UniqueConstraint("model_id", "project_id", name=op.f("uq_checkpoint_permissions_model_id_project_id")),
    )
    op.add_column("files", sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column(
        "fine_tuning_jobs",
        sa.Column("training", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
    )
    op.add_column(
        "fine_tuning_jobs",
        sa.Column("integrations", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
    )
    op.add_column(
        "fine_tuning_jobs",
        sa.Column("result_files", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
    )
    op.add_column("fine_tuning_jobs", sa.Column("started_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("fine_tuning_jobs", sa.Column("unvalidated", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("fine_tuning_jobs", sa.Column("fingerprint", sa.String(), nullable=True))
    op.add_column("fine_tuning_jobs", sa.Column("estimate", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("fine_tuning_jobs", sa.Column("actual", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("fine_tuning_jobs", sa.Column("largest_micro_batch", sa.BigInteger(), nullable=True))
    op.create_index("ix_fine_tuning_jobs_fingerprint", "fine_tuning_jobs", ["fingerprint"], unique=False)
    op.add_column("models", sa.Column("kind", sa.String(), server_default="adapter", nullable=False))
    op.add_column("models", sa.Column("step", sa.BigInteger(), nullable=True))
    op.add_column("models", sa.Column("problem", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("models", "problem")
    op.drop_column("models", "step")
    op.drop_column("models", "kind")
    op.drop_index("ix_fine_tuning_jobs_fingerprint", table_name="fine_tuning_jobs")
    op.drop_column("fine_tuning_jobs", "largest_micro_batch")
    op.drop_column("fine_tuning_jobs", "actual")
    op.drop_column("fine_tuning_jobs", "estimate")
    op.drop_column("fine_tuning_jobs", "fingerprint")
    op.drop_column("fine_tuning_jobs", "unvalidated")
    op.drop_column("fine_tuning_jobs", "started_at")
    op.drop_column("fine_tuning_jobs", "result_files")
    op.drop_column("fine_tuning_jobs", "integrations")
    op.drop_column("fine_tuning_jobs", "training")
    op.drop_column("files", "report")
    op.drop_table("checkpoint_permissions")
    op.drop_index(op.f("ix_upload_parts_upload_id"), table_name="upload_parts")
    op.drop_table("upload_parts")
    op.drop_index("ix_uploads_status_expires_at", table_name="uploads")
    op.drop_table("uploads")
    op.drop_table("training_speeds")
    op.drop_table("training_hardware")
