"""How a dataset is built: POST /v1/datasets and its versions, an extension. docs/datasets.md explains every field.

A recipe is stored with every default filled in, so that one written today means the same when defaults have changed.
"""

from typing import Annotated, Any, Literal, get_args

import msgspec

from gateway.protocol.datasets import SYSTEM_LENGTH
from gateway.protocol.moments import Moment

MANY = 200
"""Entries of a list in a recipe."""

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
Names = Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=512)]], msgspec.Meta(max_length=MANY)]
Ids = Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=128)]], msgspec.Meta(max_length=2000)]
Source = Literal["human", "rule", "llm", "external"]
PersonalKind = Literal[
    "email", "phone", "iban", "card", "ssn", "ip_address", "api_key", "jwt", "private_key", "password"
]
PERSONAL_KINDS: tuple[PersonalKind, ...] = get_args(PersonalKind)
"""What is found by pattern and checksum (judges/personal_data.py, whose kinds these are)."""
PairSource = Literal["edits", "votes", "judges", "regenerated", "choices"]
PAIR_SOURCES: tuple[PairSource, ...] = get_args(PairSource)


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what a recipe is made of: a typo is an error."""


class Exchanges(Part, frozen=True):
    """Which logged calls: completed ones, with their bodies, that nobody deleted and that Tuneway did not make itself."""

    models: Names = []
    """That were called, or that answered; empty is any."""
    routes: Names = []
    created_after: Moment | None = None
    """Inclusive."""
    created_before: Moment | None = None
    """Exclusive."""
    metadata: dict[str, str] = {}
    """Of the calls: all of these."""
    excluded_users: Names = []
    """As the application names its users (`safety_identifier` or `user`); stored as hashes."""
    excluded: Ids = []
    """Ids of exchanges that somebody looked at and does not want."""


class Examples(Part, frozen=True):
    """Training examples that were written or chosen by hand, and validated."""

    tags: Names = []
    """All of these."""
    min_score: Share | None = None
    excluded: Ids = []
    """Ids of examples that somebody looked at and does not want."""


class Sources(Part, frozen=True):
    exchanges: Exchanges | None = Exchanges()
    """null: no logged calls."""
    examples: Examples | None = None
    """null: no examples by hand."""


class Condition(Part, frozen=True):
    """What must have been said of an answer, beside the signal that it is good. All verdicts on one version of a criterion."""

    criterion: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    version: AtLeastOne | None = None
    """Left out: the newest when the dataset is built. Versions are never mixed."""
    source: Source | None = None
    min_score: Share | None = None
    labels: Names = []
    """One of these."""
    passed: bool | None = None
    min_judges: AtLeastOne = 1
    """People, rules or models that must have said anything; repeats of one judge count once."""
    agreement: Share = 1.0
    """Share of those that must say this."""


class Positive(Part, frozen=True):
    """What counts as a sign that an answer is worth learning. A person's negative verdict outweighs all but an edit."""

    edits: bool = True
    """A person wrote it as it should have been: that text is learnt."""
    human: bool = True
    """A person's verdict passed."""
    rule_and_judge: bool = True
    """A rule passed and none failed, and a judge passed and none failed."""
    unjudged: bool = False
    """Answers that nobody said anything of. Learning from them teaches a model its own mistakes."""
    allow_untrusted: bool = False
    """Judges (models) count whose agreement with people was not shown."""


class Turns(Part, frozen=True):
    learn: Literal["last", "every"] = "last"
    """The answer of each call, or all answers of its conversation; of calls of one conversation, `every` keeps the last."""
    max_turns: AtLeastOne | None = None
    """Conversations with more messages of the user are left out."""


class Caps(Part, frozen=True):
    """At most so many rows; the best signals stay, then chance decides, always in the same way."""

    per_user: AtLeastOne | None = None
    per_topic: AtLeastOne | None = None
    """Rows about nearly the same: a cluster of near-duplicates and conversations."""
    total: AtLeastOne | None = None


class System(Part, frozen=True):
    """The system and developer prompts of the rows."""

    prompt: Literal["keep", "drop", "replace"] = "keep"
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=SYSTEM_LENGTH)] | None = None
    """With replace."""


class Redaction(Part, frozen=True):
    kinds: list[PersonalKind] = msgspec.field(default_factory=lambda: list(PERSONAL_KINDS))
    """Each is replaced by a placeholder, the same for the same value in a dataset. Empty: nothing is."""
    region: Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")] = "US"
    """Country (ISO 3166) whose phone numbers may stand without its code."""


class Duplicates(Part, frozen=True):
    exact: bool = True
    """Rows that are the same but for case, white space and punctuation: the strongest signal stays, then the first."""
    near: bool = True
    """Rows whose character 5-grams overlap by `threshold` or more (Jaccard), and whose answers do: likewise."""
    threshold: Annotated[float, msgspec.Meta(ge=0.3, le=1)] = 0.8


class Split(Part, frozen=True):
    validation: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.1
    """Share of the rows, about. Near-duplicates are always on one side."""
    by: list[Literal["conversation", "user"]] = msgspec.field(default_factory=lambda: ["conversation"])
    """What else is never torn apart."""
    threshold: Annotated[float, msgspec.Meta(ge=0.3, le=1)] = 0.5
    """Questions that overlap by this or more are near-duplicates here: lower than where rows are removed."""


class Contamination(Part, frozen=True):
    """Rows that test suites contain are left out."""

    evals: Names = []
    """Ids of evals."""
    files: Names = []
    """Ids of files with test items, a JSON object a line."""
    threshold: Annotated[float, msgspec.Meta(ge=0.3, le=1)] = 0.5
    """Messages that overlap with a text of a suite by this or more are in it; so are those that it has word for word, and
    rows that share twelve words in a row with it."""


class Pairs(Part, frozen=True):
    """Of preference pairs."""

    sources: list[PairSource] = msgspec.field(default_factory=lambda: list(PAIR_SOURCES))
    min_margin: Share = 0.2
    """Between the scores of two answers of one prompt, 0 to 1."""
    max_similarity: Share = 0.95
    """Normalised edit similarity above which two answers are too much alike to learn from."""
    min_differing_tokens: Annotated[int, msgspec.Meta(ge=0)] = 5
    allow_refusals: bool = False
    """A refusal may be preferred to an answer."""
    balance_length: bool = False
    """Leave out pairs until the longer answer is chosen in no more than 60% of them."""


class SelfTraining(Part, frozen=True):
    """Rows whose answer was written by a model that was fine-tuned here."""

    max_share: Share = 0.5
    """Of all rows."""
    max_depth: Annotated[int, msgspec.Meta(ge=0)] = 3
    """Trainings on own answers that may lie behind an answer."""


class Recipe(Part, frozen=True):
    kind: Literal["sft", "preference"]
    sources: Sources = Sources()
    criteria: Annotated[list[Condition], msgspec.Meta(max_length=20)] = []
    """All of them."""
    positive: Positive = Positive()
    turns: Turns = Turns()
    caps: Caps = Caps()
    system: System = System()
    redaction: Redaction = Redaction()
    duplicates: Duplicates = Duplicates()
    split: Split = Split()
    contamination: Contamination = Contamination()
    pairs: Pairs = Pairs()
    self_training: SelfTraining = SelfTraining()


def stored(recipe: Recipe) -> dict[str, Any]:
    """As JSON with every default filled in."""
    return msgspec.to_builtins(recipe)
