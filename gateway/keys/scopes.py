"""Which scope each endpoint of a project needs, and which scopes a key may be given.

A key without scopes may use every endpoint. Names are OpenAI's where its error messages and SDKs show some (`model.request`,
`api.model.read`, `api.files.read`, `api.fine_tuning.jobs.write`, `api.all.read`), in its style where they do not.
`.write` includes `.read`, and `api.all.read` every `.read`.
"""

from collections.abc import Iterable

from gateway.errors import Forbidden, InvalidRequest

MODEL_REQUEST = "model.request"
MODEL_EXPORT = "api.model.export"
ALL_READ = "api.all.read"

SCOPES: dict[str, str] = {
    MODEL_REQUEST: "call models: chat and text completions, also of graders that ask a model",
    "api.model.read": "list models, and what each was used for",
    "api.model.write": "describe, deprecate and delete fine-tuned models",
    MODEL_EXPORT: "download the weights of a fine-tuned model",
    "api.files.read": "list and download files, and what was found in them",
    "api.files.write": "upload, import and delete files",
    "api.fine_tuning.jobs.read": "follow fine-tuning jobs, and estimate one",
    "api.fine_tuning.jobs.write": "start, pause and cancel fine-tuning jobs",
    "api.graders.request": "check and run graders",
    "api.datasets.read": "see datasets, their versions and where their rows come from",
    "api.datasets.write": "build, change and delete datasets",
    "api.examples.read": "see training examples that are managed by hand",
    "api.examples.write": "write, import, validate and delete training examples",
    "api.lineage.read": "see what came of what, and which data and models hold a person's data",
    "api.budgets.read": "see what binds the key, and what is left of it",
    "api.exchanges.read": "read the exchange log and stored completions, with what was asked and answered",
    "api.exchanges.write": "erase exchanges, change and delete stored completions",
    "api.saved_views.read": "see the project's saved views of the log",
    "api.saved_views.write": "save, change and delete views",
    "api.feedback.write": "say what people think of answers, and read nothing: for web pages",
    "api.judgments.read": "read judgments and what they come to, criteria and judges",
    "api.judgments.write": "bring judgments, take them back, make criteria and judges, have answers judged",
    "api.reviews.read": "see review queues and what is before the key's person, with what was asked and answered",
    "api.reviews.write": "make review queues, judge what is in them, take it back",
    "api.evals.read": "follow evals and their runs, with what was asked and answered, and compare them",
    "api.evals.write": "create, run and delete evals: models answer and grade on the project's account",
    "api.guidance.read": "see what fails most and what to do about it, with what was asked and answered",
    "api.guidance.write": "ask a model what is behind what fails; the key needs model.request, too",
    ALL_READ: "everything that ends with .read",
}
"""Every scope that a key may be given, and what it lets the key do."""

NEEDED: dict[tuple[str, str], str] = {
    ("POST", "/v1/chat/completions"): MODEL_REQUEST,
    ("POST", "/v1/completions"): MODEL_REQUEST,
    ("GET", "/v1/models"): "api.model.read",
    ("GET", "/v1/models/{model_id}"): "api.model.read",
    ("DELETE", "/v1/models/{model_id}"): "api.model.write",
    ("GET", "/v1/registry"): "api.model.read",
    ("GET", "/v1/registry/{model_id}"): "api.model.read",
    ("POST", "/v1/registry/{model_id}"): "api.model.write",
    ("GET", "/v1/model_traffic"): "api.exchanges.read",
    ("GET", "/v1/guidance"): "api.guidance.read",
    ("POST", "/v1/guidance/summary"): "api.guidance.write",
    ("GET", "/v1/files"): "api.files.read",
    ("POST", "/v1/files"): "api.files.write",
    ("GET", "/v1/files/{file_id}"): "api.files.read",
    ("DELETE", "/v1/files/{file_id}"): "api.files.write",
    ("GET", "/v1/files/{file_id}/content"): "api.files.read",
    ("GET", "/v1/files/{file_id}/report"): "api.files.read",
    ("GET", "/v1/files/{file_id}/rows"): "api.files.read",
    ("POST", "/v1/datasets/import"): "api.files.write",
    ("GET", "/v1/datasets"): "api.datasets.read",
    ("POST", "/v1/datasets"): "api.datasets.write",
    ("POST", "/v1/datasets/preview"): "api.datasets.write",
    ("GET", "/v1/datasets/{dataset_id}"): "api.datasets.read",
    ("POST", "/v1/datasets/{dataset_id}"): "api.datasets.write",
    ("DELETE", "/v1/datasets/{dataset_id}"): "api.datasets.write",
    ("GET", "/v1/datasets/{dataset_id}/versions"): "api.datasets.read",
    ("POST", "/v1/datasets/{dataset_id}/versions"): "api.datasets.write",
    ("GET", "/v1/datasets/{dataset_id}/versions/{number}"): "api.datasets.read",
    ("GET", "/v1/datasets/{dataset_id}/versions/{number}/report"): "api.datasets.read",
    ("GET", "/v1/datasets/{dataset_id}/versions/{number}/items"): "api.datasets.read",
    ("POST", "/v1/datasets/{dataset_id}/versions/{number}/cancel"): "api.datasets.write",
    ("POST", "/v1/datasets/{dataset_id}/versions/{number}/export"): "api.datasets.write",
    ("GET", "/v1/training_examples"): "api.examples.read",
    ("POST", "/v1/training_examples"): "api.examples.write",
    ("POST", "/v1/training_examples/import"): "api.examples.write",
    ("GET", "/v1/training_examples/{example_id}"): "api.examples.read",
    ("POST", "/v1/training_examples/{example_id}"): "api.examples.write",
    ("POST", "/v1/training_examples/{example_id}/validate"): "api.examples.write",
    ("DELETE", "/v1/training_examples/{example_id}"): "api.examples.write",
    ("POST", "/v1/uploads"): "api.files.write",
    ("POST", "/v1/uploads/{upload_id}/parts"): "api.files.write",
    ("POST", "/v1/uploads/{upload_id}/complete"): "api.files.write",
    ("POST", "/v1/uploads/{upload_id}/cancel"): "api.files.write",
    ("POST", "/v1/fine_tuning/estimate"): "api.fine_tuning.jobs.read",
    ("GET", "/v1/fine_tuning/jobs"): "api.fine_tuning.jobs.read",
    ("POST", "/v1/fine_tuning/jobs"): "api.fine_tuning.jobs.write",
    ("GET", "/v1/fine_tuning/jobs/{job_id}"): "api.fine_tuning.jobs.read",
    ("POST", "/v1/fine_tuning/jobs/{job_id}/cancel"): "api.fine_tuning.jobs.write",
    ("POST", "/v1/fine_tuning/jobs/{job_id}/pause"): "api.fine_tuning.jobs.write",
    ("POST", "/v1/fine_tuning/jobs/{job_id}/resume"): "api.fine_tuning.jobs.write",
    ("GET", "/v1/fine_tuning/jobs/{job_id}/events"): "api.fine_tuning.jobs.read",
    ("GET", "/v1/fine_tuning/jobs/{job_id}/metrics"): "api.fine_tuning.jobs.read",
    ("GET", "/v1/fine_tuning/jobs/{job_id}/checkpoints"): "api.fine_tuning.jobs.read",
    ("POST", "/v1/fine_tuning/alpha/graders/validate"): "api.graders.request",
    ("POST", "/v1/fine_tuning/alpha/graders/run"): "api.graders.request",
    ("GET", "/v1/budgets/current"): "api.budgets.read",
    ("GET", "/v1/lineage"): "api.lineage.read",
    ("GET", "/v1/lineage/{node_id}"): "api.lineage.read",
    ("GET", "/v1/evals"): "api.evals.read",
    ("POST", "/v1/evals"): "api.evals.write",
    ("POST", "/v1/evals/import"): "api.evals.write",
    ("GET", "/v1/evals/{eval_id}"): "api.evals.read",
    ("POST", "/v1/evals/{eval_id}"): "api.evals.write",
    ("DELETE", "/v1/evals/{eval_id}"): "api.evals.write",
    ("GET", "/v1/eval_standings"): "api.evals.read",
    ("GET", "/v1/evals/{eval_id}/sample_size"): "api.evals.read",
    ("GET", "/v1/evals/{eval_id}/trend"): "api.evals.read",
    ("GET", "/v1/evals/{eval_id}/runs"): "api.evals.read",
    ("POST", "/v1/evals/{eval_id}/runs"): "api.evals.write",
    ("GET", "/v1/evals/{eval_id}/runs/{run_id}"): "api.evals.read",
    ("POST", "/v1/evals/{eval_id}/runs/{run_id}"): "api.evals.write",
    ("POST", "/v1/evals/{eval_id}/runs/{run_id}/cancel"): "api.evals.write",
    ("DELETE", "/v1/evals/{eval_id}/runs/{run_id}"): "api.evals.write",
    ("GET", "/v1/evals/{eval_id}/runs/{run_id}/compare"): "api.evals.read",
    ("GET", "/v1/evals/{eval_id}/runs/{run_id}/compare/items"): "api.evals.read",
    ("GET", "/v1/evals/{eval_id}/runs/{run_id}/output_items"): "api.evals.read",
    ("GET", "/v1/evals/{eval_id}/runs/{run_id}/output_items/{output_item_id}"): "api.evals.read",
    ("GET", "/v1/exchanges"): "api.exchanges.read",
    ("GET", "/v1/exchanges/{exchange_id}"): "api.exchanges.read",
    ("DELETE", "/v1/exchanges"): "api.exchanges.write",
    ("DELETE", "/v1/exchanges/{exchange_id}"): "api.exchanges.write",
    ("GET", "/v1/saved_views"): "api.saved_views.read",
    ("POST", "/v1/saved_views"): "api.saved_views.write",
    ("GET", "/v1/saved_views/{view_id}"): "api.saved_views.read",
    ("POST", "/v1/saved_views/{view_id}"): "api.saved_views.write",
    ("DELETE", "/v1/saved_views/{view_id}"): "api.saved_views.write",
    ("GET", "/v1/chat/completions"): "api.exchanges.read",
    ("GET", "/v1/chat/completions/{completion_id}"): "api.exchanges.read",
    ("POST", "/v1/chat/completions/{completion_id}"): "api.exchanges.write",
    ("DELETE", "/v1/chat/completions/{completion_id}"): "api.exchanges.write",
    ("GET", "/v1/chat/completions/{completion_id}/messages"): "api.exchanges.read",
    ("POST", "/v1/feedback"): "api.feedback.write",
    ("GET", "/v1/judgments"): "api.judgments.read",
    ("POST", "/v1/judgments"): "api.judgments.write",
    ("GET", "/v1/judgments/summary"): "api.judgments.read",
    ("GET", "/v1/judgments/{judgment_id}"): "api.judgments.read",
    ("DELETE", "/v1/judgments/{judgment_id}"): "api.judgments.write",
    ("GET", "/v1/criteria"): "api.judgments.read",
    ("POST", "/v1/criteria"): "api.judgments.write",
    ("GET", "/v1/criteria/{criterion_id}"): "api.judgments.read",
    ("POST", "/v1/criteria/{criterion_id}"): "api.judgments.write",
    ("DELETE", "/v1/criteria/{criterion_id}"): "api.judgments.write",
    ("GET", "/v1/review_queues"): "api.reviews.read",
    ("POST", "/v1/review_queues"): "api.reviews.write",
    ("GET", "/v1/review_queues/{queue_id}"): "api.reviews.read",
    ("POST", "/v1/review_queues/{queue_id}"): "api.reviews.write",
    ("DELETE", "/v1/review_queues/{queue_id}"): "api.reviews.write",
    ("POST", "/v1/review_queues/{queue_id}/next"): "api.reviews.write",
    ("GET", "/v1/review_queues/{queue_id}/current"): "api.reviews.read",
    ("POST", "/v1/review_queues/{queue_id}/undo"): "api.reviews.write",
    ("POST", "/v1/review_queues/{queue_id}/release"): "api.reviews.write",
    ("GET", "/v1/review_queues/{queue_id}/items"): "api.reviews.read",
    ("POST", "/v1/review_queues/{queue_id}/items"): "api.reviews.write",
    ("GET", "/v1/review_queues/{queue_id}/people"): "api.reviews.read",
    ("GET", "/v1/review_queues/{queue_id}/items/{item_id}"): "api.reviews.read",
    ("POST", "/v1/review_queues/{queue_id}/items/{item_id}/decision"): "api.reviews.write",
    ("POST", "/v1/review_queues/{queue_id}/items/{item_id}/skip"): "api.reviews.write",
    ("GET", "/v1/judges"): "api.judgments.read",
    ("POST", "/v1/judges"): "api.judgments.write",
    ("GET", "/v1/judge_standings"): "api.judgments.read",
    ("GET", "/v1/judges/{judge_id}"): "api.judgments.read",
    ("POST", "/v1/judges/{judge_id}"): "api.judgments.write",
    ("DELETE", "/v1/judges/{judge_id}"): "api.judgments.write",
    ("GET", "/v1/judges/{judge_id}/versions"): "api.judgments.read",
    ("POST", "/v1/judges/{judge_id}/judge"): "api.judgments.write",
    ("GET", "/v1/judges/{judge_id}/lag"): "api.judgments.read",
    ("GET", "/v1/judges/{judge_id}/trust"): "api.judgments.read",
    ("POST", "/v1/judges/{judge_id}/calibrate"): "api.judgments.write",
    ("POST", "/v1/rules/try"): "api.judgments.write",
}
"""Method and URL of every endpoint for projects; a test finds one that is missing here."""


def check_scopes(scopes: Iterable[str]) -> None:
    """Raises InvalidRequest on one that there is not."""
    for scope in scopes:
        if scope not in SCOPES:
            raise InvalidRequest(
                f"Invalid 'scopes': there is no scope '{scope[:50]}'. Choose from {', '.join(SCOPES)}.", param="scopes"
            )


def granted(scopes: Iterable[str]) -> frozenset[str]:
    """Everything that these scopes let a key do."""
    every = set(scopes)
    every |= {scope.removesuffix(".write") + ".read" for scope in every if scope.endswith(".write")}
    if ALL_READ in every:
        every |= {scope for scope in SCOPES if scope.endswith(".read")}
    return frozenset(every)


def require(scopes: frozenset[str] | None, wanted: str | None) -> None:
    """Let a key with these scopes pass.

    Args:
        scopes: as `granted` made them; None is every endpoint.
        wanted: the scope that an endpoint needs; None for one that nobody has thought of, which only a key without
            scopes may use.

    Raises:
        Forbidden: it has not the one that is needed.
    """
    if scopes is None or wanted in scopes:
        return
    missing = f"Missing scopes: {wanted}. " if wanted else "It takes a key without scopes. "
    raise Forbidden(
        f"You have insufficient permissions for this operation. {missing}"
        "Use another API key, or ask your administrator to give this one the scope."
    )


def require_for(scopes: frozenset[str] | None, method: str, url: str) -> None:
    """The same for an endpoint, by its URL as in NEEDED. Raises Forbidden."""
    if scopes is not None:
        require(scopes, NEEDED.get(("GET" if method == "HEAD" else method, url)))
