"""/v1/judges (an extension): rules and models that judge a project's answers, and how far they can be trusted."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from gateway.protocol.criteria import CriterionSpec
from judges.rules.written import AnyRule

Kind = Literal["rule", "llm"]


class LlmExample(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """An answer and its right verdict, shown to the judge. It is left out when the judge is held against people."""

    question: str
    answer: str
    result: bool | int | float | str
    """As the criterion has it: true, 4, a label; first or second of a comparison."""
    reason: str = ""
    exchange_id: str | None = None
    """Where it is from."""


class LlmSampling(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Parameters of the judge's calls; what is left out is not sent."""

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_completion_tokens: int | None = None
    reasoning_effort: str | None = None


class LlmSpec(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, tag="llm", tag_field="type"):
    """A model that judges by a criterion; by a comparison's, it is always asked in both orders."""

    model: str
    panel: list[str] = []
    """More models that judge the same answers."""
    combine: Literal["mean", "majority"] = "mean"
    """What makes one verdict out of the panel's; comparisons and labels go by majority."""
    prompt: str = ""
    """Instructions of your own, behind the criterion's description. No place for the answer is needed: it follows as data."""
    reference: bool = False
    """Shows the correction that a person made of the answer, or the call's metadata `reference`; answers without either
    are not judged (status `abstained`)."""
    repeats: int = 1
    """Times that each answer is judged."""
    sampling: LlmSampling = LlmSampling()
    structured: bool = True
    """Sends a JSON Schema as response_format; a model that refuses that is asked again without."""
    examples: list[LlmExample] = []


class RuleSpec(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, tag="rule", tag_field="type"):
    """Rules (docs/validators.md): an answer passes when it passes all of them."""

    rules: list[AnyRule]


Spec = LlmSpec | RuleSpec


class Watch(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Which traffic a judge judges by itself. What Tuneway itself asked (judges, evals) never is."""

    rate: float = 1.0
    """Share of the calls, chosen by a hash of the exchange's id."""
    routes: list[str] = []
    """Only these; empty is all."""
    models: list[str] = []
    """As requested or as served."""
    metadata: dict[str, str] = {}
    """Only calls that carry all of it."""
    max_per_hour: int | None = None
    """Calls of one hour, each with all its choices. The share becomes smaller with the traffic, and is written down with each
    judgment."""


class JudgeUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays. Another spec or criterion makes the next version."""

    name: str | UnsetType = UNSET
    criterion: str | CriterionSpec | UnsetType = UNSET
    spec: Spec | UnsetType = UNSET
    watch: Watch | UnsetType | None = UNSET
    min_kappa: float | UnsetType | None = UNSET


class JudgeCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: str
    """Letters, digits, `_`, `.` and `-`, at most 64."""
    criterion: str | CriterionSpec | None = None
    """A criterion's name or id, or a new one. Rules without one get a yes or no of their own, `rules.` and the judge's name."""
    spec: Spec
    watch: Watch | None = None
    min_kappa: float | None = None
    """0.4 when left out (docs/judges.md)."""


class JudgeVersion(msgspec.Struct, kw_only=True):
    """What a judge did from one moment on; never changed."""

    id: str
    object: str = "judge.version"
    judge_id: str
    number: int
    created_at: int
    created_by: str
    criterion_id: str
    criterion: str
    """Its name."""
    criterion_version: int
    spec: dict[str, Any]
    spec_sha256: str


class Judge(msgspec.Struct, kw_only=True):
    id: str
    object: str = "judge"
    created_at: int
    updated_at: int
    name: str
    kind: Kind
    version: JudgeVersion
    """In force."""
    watch: Watch | None
    watched_since: int | None
    """Traffic from then on is judged."""
    min_kappa: float
    archived_at: int | None
    warnings: list[str]


class JudgingRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Answers to be judged now, by exchange id (`req_...`) or completion id (`chatcmpl-...`)."""

    exchange_ids: list[str] = []
    pairs: list[tuple[str, str]] = []
    """For a judge of comparisons: two answers to the same conversation each."""


class JudgingRequested(msgspec.Struct, kw_only=True):
    object: str = "judge.request"
    judge_version_id: str
    queued: int
    """Judgments to come, repeats included, but for further choices of replies that have several: those join when the first one
    is begun. What was judged already is not judged again; what ended in an error is."""


class JudgeLag(msgspec.Struct, kw_only=True):
    object: str = "judge.lag"
    judge_id: str
    waiting: int
    """Judgments that are still to be made."""
    under_way: int
    tried: int
    """Of those that wait: tried before, without an answer."""
    oldest_at: int | None
    lag_seconds: float
    """How long the oldest has been waiting; 0 when none does."""
    late: bool
    """Longer than [worker] judge_lag_minutes."""
    judged_last_hour: int


class Calibration(msgspec.Struct, kw_only=True):
    """A judge's version held against people."""

    id: str
    object: str = "judge.calibration"
    created_at: int
    judge_version_id: str
    criterion_id: str
    """Whose judgments by people were taken."""
    n: int
    """Answers that both have judged."""
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None
    sensitivity: float | None
    specificity: float | None
    report: dict[str, Any]
    """docs/judges.md tells what is in it."""


class CalibrationCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    criterion: str | None = None
    """Name or id of the criterion that people judged by; the judge's own when left out."""


class CalibrationQueued(msgspec.Struct, kw_only=True):
    object: str = "judge.calibration.queued"
    judge_version_id: str
    criterion_id: str


class Coverage(msgspec.Struct, kw_only=True):
    """Of everything that a version was asked to judge."""

    asked: int
    ok: int
    errors: int
    abstained: int
    waiting: int
    share: float | None
    """ok of asked; null without any."""
    by_code: dict[str, int]
    mean_score: float | None
    """Of what is ok."""


class JudgeStanding(msgspec.Struct, kw_only=True):
    """How a judge is doing, for lists of them."""

    id: str
    """The judge's."""
    object: str = "judge.standing"
    judge_version_id: str
    trusted: bool
    """As in GET /v1/judges/{judge_id}/trust; judges of rules need no trust."""
    reasons: list[str]
    n: int
    """Answers that people have judged, too, when it was last held against them."""
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None
    asked: int
    """Of the version in force: answers that it was asked to judge."""
    coverage: float | None
    """Share of them with a verdict."""
    mean_score: float | None
    waiting: int
    lag_seconds: float
    late: bool
    calls: int
    """Calls of models that judgments of the last 30 days name."""
    cost_usd: float
    """Of these."""


class Trust(msgspec.Struct, kw_only=True):
    object: str = "judge.trust"
    judge_id: str
    judge_version_id: str
    trusted: bool
    """May build data and decide unattended."""
    reasons: list[str]
    """Why not."""
    min_kappa: float
    min_n: int
    min_coverage: float
    coverage: Coverage
    calibration: Calibration | None
    """The newest of the version in force."""
    history: list[Calibration]
    """Of all versions, newest first, at most 20; each by its own criterion version."""
