"""The whole URL map. This file stays a map."""

from gateway.inference import CHAT_COMPLETIONS, COMPLETIONS, Endpoint
from gateway.routes import (
    api_keys,
    exchanges,
    files,
    fine_tuning_jobs,
    graders,
    health,
    models,
    projects,
    uploads,
    usage,
)

HOT: dict[str, Endpoint] = {
    "/v1/chat/completions": CHAT_COMPLETIONS,
    "/v1/completions": COMPLETIONS,
}
"""POST only, answered by model_calls.answer without the framework."""

ROUTES = [
    health.health,
    health.ready,
    health.metrics,
    files.create_file,
    files.list_files,
    files.retrieve_file,
    files.retrieve_content,
    files.delete_file,
    uploads.create_upload,
    uploads.create_part,
    uploads.complete_upload,
    uploads.cancel_upload,
    fine_tuning_jobs.create_job,
    fine_tuning_jobs.list_jobs,
    fine_tuning_jobs.retrieve_job,
    fine_tuning_jobs.cancel_job,
    fine_tuning_jobs.list_events,
    fine_tuning_jobs.list_checkpoints,
    graders.validate_grader,
    graders.run_grader,
    models.list_models,
    models.retrieve_model,
    projects.list_projects,
    projects.create_project,
    projects.retrieve_project,
    projects.update_project,
    projects.archive_project,
    projects.list_service_accounts,
    projects.create_service_account,
    projects.retrieve_service_account,
    projects.delete_service_account,
    projects.create_service_account_key,
    api_keys.list_api_keys,
    api_keys.retrieve_api_key,
    api_keys.revoke_api_key,
    usage.completions_usage,
    usage.costs,
    exchanges.list_exchanges,
    exchanges.retrieve_exchange,
]
