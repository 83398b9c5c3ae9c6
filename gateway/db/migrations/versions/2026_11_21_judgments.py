"""judgments"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0005"
down_revision: str | Sequence[str] | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = (
    "working_keys",
    "judgments",
    "judging_tasks",
    "eval_output_items",
    "dataset_items",
    "calibrations",
    "judge_versions",
    "eval_runs",
    "dataset_versions",
    "training_examples",
    "judges",
    "evals",
    "datasets",
    "criteria",
    "stored_completions",
    "exchange_deletions",
)
"""In the order in which they can be dropped."""


def upgrade() -> None:
    _judgments()
    _datasets()
    _evals()
    _stored()
    _columns()


def _judgments() -> None:
    op.create_table(
        "criteria",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("lowest", sa.Double(), nullable=True),
        sa.Column("highest", sa.Double(), nullable=True),
        sa.Column("labels", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("passing_labels", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("pass_score", sa.Double(), nullable=True),
        sa.Column("direction", sa.String(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_criteria_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_criteria")),
        sa.UniqueConstraint("project_id", "name", "version", name=op.f("uq_criteria_project_id_name_version")),
    )
    op.create_table(
        "judges",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("watch", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("watched_until", sa.String(), nullable=True),
        sa.Column("min_kappa", sa.Double(), nullable=True),
        sa.Column("lagging_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_judges_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judges")),
    )
    op.create_index(
        "uq_judges_project_id_name",
        "judges",
        ["project_id", "name"],
        unique=True,
        postgresql_where=sa.text("archived_at IS NULL"),
    )
    op.create_table(
        "judge_versions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("judge_id", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("criterion_id", sa.String(), nullable=False),
        sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("spec_sha256", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["criterion_id"], ["criteria.id"], name=op.f("fk_judge_versions_criterion_id_criteria")
        ),
        sa.ForeignKeyConstraint(["judge_id"], ["judges.id"], name=op.f("fk_judge_versions_judge_id_judges")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judge_versions")),
        sa.UniqueConstraint("judge_id", "number", name=op.f("uq_judge_versions_judge_id_number")),
    )
    op.create_table(
        "calibrations",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("judge_version_id", sa.String(), nullable=False),
        sa.Column("criterion_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("kappa", sa.Double(), nullable=True),
        sa.Column("kappa_low", sa.Double(), nullable=True),
        sa.Column("kappa_high", sa.Double(), nullable=True),
        sa.Column("sensitivity", sa.Double(), nullable=True),
        sa.Column("specificity", sa.Double(), nullable=True),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["criterion_id"], ["criteria.id"], name=op.f("fk_calibrations_criterion_id_criteria")),
        sa.ForeignKeyConstraint(
            ["judge_version_id"], ["judge_versions.id"], name=op.f("fk_calibrations_judge_version_id_judge_versions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibrations")),
    )
    op.create_index(
        "ix_calibrations_judge_version_id_created_at", "calibrations", ["judge_version_id", "created_at"], unique=False
    )
    op.create_table(
        "judging_tasks",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("judge_version_id", sa.String(), nullable=False),
        sa.Column("exchange_id", sa.String(), nullable=False),
        sa.Column("choice_index", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("other_exchange_id", sa.String(), nullable=True),
        sa.Column("attempt", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("sampling", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tries", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_holder", sa.String(), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["judge_version_id"], ["judge_versions.id"], name=op.f("fk_judging_tasks_judge_version_id_judge_versions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judging_tasks")),
    )
    op.create_index(
        "ix_judging_tasks_done_at",
        "judging_tasks",
        ["done_at"],
        unique=False,
        postgresql_where=sa.text("done_at IS NOT NULL"),
    )
    op.create_index(
        "ix_judging_tasks_due",
        "judging_tasks",
        ["project_id", "due_at"],
        unique=False,
        postgresql_where=sa.text("done_at IS NULL"),
    )
    op.create_index(
        "uq_judging_tasks_work",
        "judging_tasks",
        [
            "judge_version_id",
            "exchange_id",
            sa.literal_column("coalesce(other_exchange_id, '')"),
            "choice_index",
            "attempt",
        ],
        unique=True,
    )
    op.create_table(
        "judgments",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("exchange_id", sa.String(), nullable=False),
        sa.Column("choice_index", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("other_exchange_id", sa.String(), nullable=True),
        sa.Column("other_choice_index", sa.BigInteger(), nullable=True),
        sa.Column("eval_run_id", sa.String(), nullable=True),
        sa.Column("output_item_id", sa.String(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("judge_version_id", sa.String(), nullable=True),
        sa.Column("annotator_id", sa.String(), nullable=True),
        sa.Column("end_user", sa.String(), nullable=True),
        sa.Column("identifier", sa.String(), server_default="", nullable=False),
        sa.Column("attempt", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("criterion_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("raw_value", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("label", sa.String(), nullable=True),
        sa.Column("passed", sa.Boolean(), nullable=True),
        sa.Column("preference", sa.String(), nullable=True),
        sa.Column("preference_strength", sa.BigInteger(), nullable=True),
        sa.Column("edited_message", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("rationale", sa.String(), nullable=True),
        sa.Column("tags", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("order_shown", sa.String(), nullable=True),
        sa.Column("pair_group_id", sa.String(), nullable=True),
        sa.Column("derived_from", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("supersedes_id", sa.String(), nullable=True),
        sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("latency_ms", sa.Double(), nullable=True),
        sa.Column("cost_nano", sa.BigInteger(), nullable=True),
        sa.Column("judge_exchange_id", sa.String(), nullable=True),
        sa.Column("blind", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("sampling", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("judgment_metadata", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint(
            "kind = 'pairwise' OR other_exchange_id IS NULL", name=op.f("ck_judgments_two_answers_in_comparisons")
        ),
        sa.CheckConstraint(
            "score IS NULL OR (score >= 0 AND score <= 1)", name=op.f("ck_judgments_score_is_normalised")
        ),
        sa.ForeignKeyConstraint(["criterion_id"], ["criteria.id"], name=op.f("fk_judgments_criterion_id_criteria")),
        sa.ForeignKeyConstraint(
            ["judge_version_id"], ["judge_versions.id"], name=op.f("fk_judgments_judge_version_id_judge_versions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judgments")),
    )
    op.create_index(
        "ix_judgments_eval_run_id",
        "judgments",
        ["eval_run_id"],
        unique=False,
        postgresql_where=sa.text("eval_run_id IS NOT NULL"),
    )
    op.create_index(
        "ix_judgments_judge_version_id_created_at",
        "judgments",
        ["judge_version_id", "created_at"],
        unique=False,
        postgresql_where=sa.text("judge_version_id IS NOT NULL"),
    )
    op.create_index(
        "ix_judgments_other_exchange_id",
        "judgments",
        ["other_exchange_id"],
        unique=False,
        postgresql_where=sa.text("other_exchange_id IS NOT NULL"),
    )
    op.create_index(
        "ix_judgments_project_id_criterion_id_created_at",
        "judgments",
        ["project_id", "criterion_id", "created_at"],
        unique=False,
    )
    op.create_index("ix_judgments_project_id_exchange_id", "judgments", ["project_id", "exchange_id"], unique=False)
    op.create_index("ix_judgments_project_id_id", "judgments", ["project_id", "id"], unique=False)
    op.create_index(
        "uq_judgments_verdict",
        "judgments",
        [
            "project_id",
            "criterion_id",
            "exchange_id",
            "choice_index",
            sa.literal_column("coalesce(other_exchange_id, '')"),
            sa.literal_column("coalesce(other_choice_index, -1)"),
            "source",
            sa.literal_column("coalesce(judge_version_id, '')"),
            sa.literal_column("coalesce(annotator_id, '')"),
            sa.literal_column("coalesce(end_user, '')"),
            "identifier",
            "attempt",
            sa.literal_column("coalesce(order_shown, '')"),
        ],
        unique=True,
        postgresql_where=sa.text("superseded_at IS NULL"),
    )
    op.create_table(
        "working_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("api_key_id", sa.String(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name=op.f("fk_working_keys_api_key_id_api_keys")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_working_keys_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_working_keys")),
    )
    op.create_index(
        "uq_working_keys_project_id_purpose",
        "working_keys",
        ["project_id", "purpose"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )


def _datasets() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("request_metadata", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_datasets_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
    )
    op.create_index(
        "ix_datasets_project_id_created_at_id", "datasets", ["project_id", "created_at", "id"], unique=False
    )
    op.create_table(
        "training_examples",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("line", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("tags", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("exchange_id", sa.String(), nullable=True),
        sa.Column("file_id", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("validated_by", sa.String(), nullable=True),
        sa.Column("validated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_training_examples_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_examples")),
    )
    op.create_index(
        "ix_training_examples_exchange_id",
        "training_examples",
        ["exchange_id"],
        unique=False,
        postgresql_where=sa.text("exchange_id IS NOT NULL"),
    )
    op.create_index(
        "ix_training_examples_project_id_created_at_id",
        "training_examples",
        ["project_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "uq_training_examples_project_id_sha256",
        "training_examples",
        ["project_id", "sha256"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "dataset_versions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("dataset_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("recipe", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("snapshot_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("progress", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("report", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("content_sha256", sa.String(), nullable=True),
        sa.Column("training_file_id", sa.String(), nullable=True),
        sa.Column("validation_file_id", sa.String(), nullable=True),
        sa.Column("error", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_holder", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_dataset_versions_dataset_id_datasets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_versions")),
        sa.UniqueConstraint("dataset_id", "number", name=op.f("uq_dataset_versions_dataset_id_number")),
    )
    op.create_index("ix_dataset_versions_training_file_id", "dataset_versions", ["training_file_id"], unique=False)
    op.create_index(
        "ix_dataset_versions_unfinished",
        "dataset_versions",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('queued', 'building')"),
    )
    op.create_index("ix_dataset_versions_validation_file_id", "dataset_versions", ["validation_file_id"], unique=False)
    op.create_table(
        "dataset_items",
        sa.Column("version_id", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("split", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("exchange_id", sa.String(), nullable=True),
        sa.Column("other_exchange_id", sa.String(), nullable=True),
        sa.Column("example_id", sa.String(), nullable=True),
        sa.Column("judgment_ids", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("origin_model", sa.String(), nullable=True),
        sa.Column("end_user", sa.String(), nullable=True),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["version_id"], ["dataset_versions.id"], name=op.f("fk_dataset_items_version_id_dataset_versions")
        ),
        sa.PrimaryKeyConstraint("version_id", "number", "split", name=op.f("pk_dataset_items")),
    )
    op.create_index(
        "ix_dataset_items_end_user",
        "dataset_items",
        ["end_user"],
        unique=False,
        postgresql_where=sa.text("end_user IS NOT NULL"),
    )
    op.create_index(
        "ix_dataset_items_example_id",
        "dataset_items",
        ["example_id"],
        unique=False,
        postgresql_where=sa.text("example_id IS NOT NULL"),
    )
    op.create_index("ix_dataset_items_exchange_id", "dataset_items", ["exchange_id"], unique=False)
    op.create_index(
        "ix_dataset_items_other_exchange_id",
        "dataset_items",
        ["other_exchange_id"],
        unique=False,
        postgresql_where=sa.text("other_exchange_id IS NOT NULL"),
    )


def _evals() -> None:
    op.create_table(
        "evals",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("data_source_config", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("testing_criteria", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("request_metadata", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_evals_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evals")),
    )
    op.create_index("ix_evals_project_id_created_at_id", "evals", ["project_id", "created_at", "id"], unique=False)
    op.create_index("ix_evals_project_id_updated_at_id", "evals", ["project_id", "updated_at", "id"], unique=False)
    op.create_table(
        "eval_runs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("eval_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("api_key_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("data_source", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("repeats", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("request_metadata", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("result", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("error", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_holder", sa.String(), nullable=True),
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["eval_id"], ["evals.id"], name=op.f("fk_eval_runs_eval_id_evals")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_eval_runs")),
    )
    op.create_index(
        "ix_eval_runs_unannounced",
        "eval_runs",
        ["finished_at"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NOT NULL AND announced_at IS NULL"),
    )
    op.create_index("ix_eval_runs_eval_id_created_at_id", "eval_runs", ["eval_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_eval_runs_unfinished",
        "eval_runs",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('queued', 'in_progress')"),
    )
    op.create_table(
        "eval_output_items",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("repeat", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("item", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("sample", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("results", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("metrics", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("exchange_id", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["eval_runs.id"], name=op.f("fk_eval_output_items_run_id_eval_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_eval_output_items")),
        sa.UniqueConstraint("run_id", "number", "repeat", name=op.f("uq_eval_output_items_run_id_number_repeat")),
    )
    op.create_index("ix_eval_output_items_run_id_status", "eval_output_items", ["run_id", "status"], unique=False)


def _stored() -> None:
    op.create_table(
        "exchange_deletions",
        sa.Column("exchange_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("exchange_id", name=op.f("pk_exchange_deletions")),
    )
    op.create_table(
        "stored_completions",
        sa.Column("exchange_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("completion_id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completion_metadata", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("exchange_id", name=op.f("pk_stored_completions")),
    )
    op.create_index(
        "ix_stored_completions_project_id_created_at",
        "stored_completions",
        ["project_id", "created_at", "exchange_id"],
        unique=False,
    )
    op.create_index(
        "uq_stored_completions_project_id_completion_id",
        "stored_completions",
        ["project_id", "completion_id"],
        unique=True,
    )


def _columns() -> None:
    op.add_column("api_keys", sa.Column("purpose", sa.String(), server_default="", nullable=False))
    op.add_column("exchanges", sa.Column("purpose", sa.String(), server_default="", nullable=False))
    op.add_column("exchanges", sa.Column("end_user", sa.String(), nullable=True))
    op.create_index(
        "ix_exchanges_project_id_end_user",
        "exchanges",
        ["project_id", "end_user"],
        unique=False,
        postgresql_where=sa.text("end_user IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_exchanges_project_id_end_user", table_name="exchanges")
    op.drop_column("exchanges", "end_user")
    op.drop_column("exchanges", "purpose")
    op.drop_column("api_keys", "purpose")
    for table in TABLES:
        op.drop_table(table)
