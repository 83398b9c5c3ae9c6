"""Rules as people choose them: what each says of an answer, and its fields. docs/validators.md has the same for programs; a
test holds these against judges/rules/written.py."""

from dataclasses import dataclass
from typing import Any, Literal

FieldKind = Literal["text", "number", "box", "choice", "several", "names", "json"]
"""names: a list, with commas between; several: a list of boxes; json: an object."""
ROLES = (("system", "System"), ("developer", "Developer"), ("user", "User"), ("tool", "Tool results"))
PERSONAL = (
    ("email", "Email"),
    ("phone", "Phone"),
    ("iban", "IBAN"),
    ("card", "Card"),
    ("ssn", "SSN"),
    ("ip_address", "IP address"),
)
SECRETS = (("api_key", "API key"), ("jwt", "Token (JWT)"), ("private_key", "Private key"), ("password", "Password"))
TEMPLATES = "{{sample.output_text}} is the answer, {{item.question}} the question."
METRICS = (
    *(("fuzzy_match", "Fuzzy match"), ("bleu", "BLEU"), ("gleu", "GLEU"), ("meteor", "METEOR"), ("cosine", "Cosine")),
    *((f"rouge_{name}", f"ROUGE-{name.upper()}") for name in ("1", "2", "3", "4", "5", "l")),
)


@dataclass(frozen=True, slots=True)
class RuleField:
    """One parameter of a rule."""

    name: str
    """Its path within the rule: `least`, `grader.input`."""
    label: str
    kind: FieldKind
    default: Any = None
    """What it is when it is left out; None where it must be said or may be nothing."""
    help: str = ""
    options: tuple[tuple[str, str], ...] = ()
    least: float | None = None
    most: float | None = None
    is_needed: bool = False


@dataclass(frozen=True, slots=True)
class RuleKind:
    """One that can be chosen."""

    title: str
    """What it says of an answer that passes."""
    fields: tuple[RuleField, ...]
    start: dict[str, Any]
    """The rule without its fields."""


def _share(name: str, label: str, default: float, help: str = "") -> RuleField:
    return RuleField(name, label, "number", default, help or f"0 to 1; {default:g} when empty.", least=0, most=1)


def _context(help: str = "Messages that count as what it was given.") -> RuleField:
    return RuleField("context", "Context", "several", [each for each, _ in ROLES], help, ROLES)


_FENCED = RuleField("fenced", "A Markdown fence around it is allowed", "box", default=False)
_CITATION = RuleField(
    "citation", "Pattern of a citation", "text", r"\[(\d{1,3}|[A-Za-z][\w.-]{0,40})\](?!\()", "Usually [1] and [name]."
)
_GRADED = (
    RuleField("grader.input", "Text", "text", help=TEMPLATES, is_needed=True),
    RuleField("grader.reference", "Reference", "text", help="Likewise.", is_needed=True),
)
_GRADER_NAME = RuleField("grader.name", "Name", "text", "")

KINDS: dict[str, RuleKind] = {
    "json": RuleKind("Is JSON", (_FENCED, RuleField("object", "It must be an object", "box", default=False)), {}),
    "json_schema": RuleKind(
        "Fits a JSON Schema",
        (RuleField("schema", "Schema", "json", help="Empty: the one that the call asked for (response_format)."), _FENCED),
        {},
    ),
    "regex": RuleKind(
        "Matches a pattern",
        (
            RuleField("pattern", "Pattern", "text", help=r"(?i) at its start ignores case; \A...\Z takes the whole answer.", is_needed=True),
            RuleField("must", "The answer", "choice", "match", options=(("match", "matches"), ("not_match", "does not match"))),
        ),
        {},
    ),
    "length": RuleKind(
        "Has a length",
        (
            RuleField("unit", "Counted in", "choice", "characters", options=(("words", "words"), ("characters", "characters"))),
            RuleField("least", "At least", "number", 0, least=0),
            RuleField("most", "At most", "number", help="Empty: no limit.", least=0),
        ),
        {},
    ),
    "language": RuleKind(
        "Is in a language",
        (
            RuleField("languages", "Languages", "names", [], "Codes with commas between, as in en, de. Empty: the language of the question."),
            RuleField("least_words", "Words, at least", "number", 4, "Of fewer nobody can tell: they pass. 4 when empty.", least=0),
        ),
        {},
    ),
    "must_cite_if_claims": RuleKind(
        "Cites what it claims",
        (
            _share("least", "Share of the claims", 1.0, "That must be cited, 0 to 1; 1 when empty."),
            RuleField("claim", "Pattern of a claim", "text", r"\d|\p{Lu}\p{Ll}+.*\p{Lu}\p{Ll}+|(?i:\b(?:studies|research|according|reported|found|shows?|proved?)\b)", "Usually numbers, names and studies."),
            _CITATION,
        ),
        {},
    ),
    "citations_in_context": RuleKind(
        "Citations are real",
        (
            _share("similarity", "A quote counts as found from", 0.9),
            RuleField("quotes", "Passages in quotation marks must be in the context, too", "box", default=True),
            _CITATION,
            _context(),
        ),
        {},
    ),
    "groundedness": RuleKind(
        "Is grounded in its context",
        (
            _share("least", "Share of the sentences", 0.8, "That must be grounded, 0 to 1; 0.8 when empty."),
            _share("overlap", "Share of a sentence's words", 0.6, "That the context must have; 0.6 when empty."),
            _context(),
        ),
        {},
    ),
    "refusal": RuleKind("Does not refuse", (), {}),
    "repetition": RuleKind(
        "Does not repeat itself",
        (
            _share("most", "Share of repeats, at most", 0.3),
            RuleField("size", "Words of a phrase", "number", 4, "1 to 50; 4 when empty.", least=1, most=50),
            RuleField("least_words", "Words, at least", "number", 30, "Shorter answers pass. 30 when empty.", least=0),
        ),
        {},
    ),
    "personal_data": RuleKind(
        "Tells no personal data",
        (
            RuleField("kinds", "None of", "several", [each for each, _ in PERSONAL], options=(*PERSONAL, *SECRETS)),
            RuleField("echo", "What the user wrote may be said back", "box", default=True),
            RuleField("region", "Country of phone numbers", "text", "US", "Two letters: its numbers may stand without a country code."),
        ),
        {},
    ),
    "secrets": RuleKind(
        "Tells no secrets",
        (RuleField("kinds", "None of", "several", [each for each, _ in SECRETS], options=(*SECRETS, *PERSONAL)),),
        {},
    ),
    "tool_calls": RuleKind(
        "Calls tools rightly", (RuleField("required", "There must be a call", "box", default=False),), {}
    ),
    "grader.string_check": RuleKind(
        "Is, or has in it, a text",
        (
            *_GRADED,
            RuleField("grader.operation", "The text", "choice", options=(("eq", "is the reference"), ("ne", "is not the reference"), ("like", "has the reference in it"), ("ilike", "has it in it, in any case"))),
            _GRADER_NAME,
        ),
        {"grader": {"type": "string_check"}},
    ),
    "grader.text_similarity": RuleKind(
        "Is like a text",
        (
            *_GRADED,
            RuleField("grader.evaluation_metric", "Likeness by", "choice", options=METRICS),
            RuleField("grader.pass_threshold", "Passes from", "number", help="0 to 1.", least=0, most=1),
            _GRADER_NAME,
        ),
        {"grader": {"type": "text_similarity"}},
    ),
}  # fmt: skip
"""A rule's type, with what decides its fields, -> the rule."""
CHOICES = tuple((name, kind.title) for name, kind in KINDS.items())


def kind_of(rule: dict[str, Any]) -> str | None:
    """The name of a rule in KINDS; None: it can be said in JSON alone."""
    name = str(rule.get("type"))
    if name == "grader":
        grader = rule.get("grader")
        name = f"grader.{grader.get('type')}" if isinstance(grader, dict) else name
    return name if name in KINDS else None
