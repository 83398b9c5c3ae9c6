"""Rules on what an answer leans on: citations, and words that its context has."""

from typing import Literal

from judges.rules import patterns
from judges.rules.rule import Outcome, Rule, share
from judges.rules.texts import content_words, context_of, sentences
from judges.subject import Subject
from judges.words import is_wordless, words

Role = Literal["system", "developer", "user", "tool"]
ROLES: tuple[Role, ...] = ("system", "developer", "user", "tool")
CITATION = r"\[(\d{1,3}|[A-Za-z][\w.-]{0,40})\](?!\()"
QUOTE = r"[\"\u201c\u201e\u00ab]([^\"\u201c\u201d\u00bb\n]{20,400})[\"\u201d\u201c\u00bb]"
CLAIM = r"\d|\p{Lu}\p{Ll}+.*\p{Lu}\p{Ll}+|(?i:\b(?:studies|research|according|reported|found|shows?|proved?)\b)"


class MustCite(Rule, frozen=True, tag="must_cite_if_claims"):
    """Sentences that claim something checkable carry a citation."""

    claim: str = CLAIM
    """A sentence that matches claims something: numbers, names, studies."""
    citation: str = CITATION
    """What a citation looks like; the default is [1] and [name]."""
    least: float = 1.0
    """Share of the claims that must be cited."""

    def problems(self) -> list[str]:
        wrong = [patterns.problem(self.claim, "claim"), patterns.problem(self.citation, "citation")]
        return [each for each in wrong if each] + _share_problem("least", self.least)

    def check(self, subject: Subject) -> Outcome:
        claims = [
            each for each in sentences(subject.text) if patterns.search(self.claim, _without(each, self.citation))
        ]
        cited = [each for each in claims if patterns.search(self.citation, each)]
        score = share(len(cited), len(claims))
        why = f"{len(cited)} of {len(claims)} claims are cited." if claims else "The answer claims nothing."
        return Outcome(
            passed=score >= self.least, score=score, rationale=why, found={"claims": len(claims), "cited": len(cited)}
        )


class CitationsInContext(Rule, frozen=True, tag="citations_in_context"):
    """What the answer cites, and what it quotes, exists in what it was given."""

    citation: str = CITATION
    quotes: bool = True
    """Passages in quotation marks of 20 characters or more must stand in the context."""
    similarity: float = 0.9
    """From which a quote counts as found: white space, capitals and a slip do not matter."""
    context: tuple[Role, ...] = ROLES
    """Messages that count as context."""

    def problems(self) -> list[str]:
        wrong = patterns.problem(self.citation, "citation")
        return ([wrong] if wrong else []) + _share_problem("similarity", self.similarity)

    def check(self, subject: Subject) -> Outcome:
        context = context_of(subject, self.context)
        known = set(patterns.matches(self.citation, context))
        cited = list(dict.fromkeys(patterns.matches(self.citation, subject.text)))
        quoted = list(patterns.matches(QUOTE, subject.text)) if self.quotes else []
        missing = [each for each in cited if each not in known]
        given = _plain(context)
        missing += [each for each in quoted if not self._stands_in(_plain(each), given)]
        count = len(cited) + len(quoted)
        why = (
            f"'{missing[0][:100]}' is not in the context." if missing else f"All {count} citations are in the context."
        )
        return Outcome(
            passed=not missing,
            score=share(count - len(missing), count),
            rationale=why,
            found={"citations": len(cited), "quotes": len(quoted), "missing": len(missing)},
        )

    def _stands_in(self, said: str, given: str) -> bool:
        if said in given:
            return True
        if len(given) < self.similarity * len(said):  # or the context would be looked for in the quote
            return False
        from rapidfuzz import fuzz  # not where rules are only stored

        return fuzz.partial_ratio(said, given[:200_000]) >= 100 * self.similarity


class Groundedness(Rule, frozen=True, tag="groundedness"):
    """Sentences of the answer whose words stand in the context. It measures shared words, not shared meaning."""

    overlap: float = 0.6
    """Share of a sentence's content words that the context must have."""
    least: float = 0.8
    """Share of the sentences that must be grounded."""
    context: tuple[Role, ...] = ROLES

    def problems(self) -> list[str]:
        return _share_problem("overlap", self.overlap) + _share_problem("least", self.least)

    def check(self, subject: Subject) -> Outcome:
        given = context_of(subject, self.context)
        known = set(words(given))
        said = [each for each in sentences(subject.text) if content_words(each)]
        grounded = [each for each in said if self._is_grounded(each, known)]
        score = share(len(grounded), len(said))
        loose = next((each for each in said if each not in grounded), None)
        why = f"Not in the context: '{loose[:100]}'." if loose else "Every sentence stands on the context."
        return Outcome(
            passed=score >= self.least,
            score=score,
            rationale=why,
            found={"sentences": len(said), "grounded": len(grounded)},
        )

    def _is_grounded(self, sentence: str, known: set[str]) -> bool:
        needed = content_words(sentence)
        there = sum(word in known or (not is_wordless(word) and _stem(word) in known) for word in needed)
        return there >= self.overlap * len(needed)


def _plain(text: str) -> str:
    """Without capitals, and with single spaces."""
    return " ".join(text.lower().split())


def _stem(word: str) -> str:
    """Without the s of a plural: all that is done about inflection."""
    return word[:-1] if word.endswith("s") else word + "s"


def _without(sentence: str, citation: str) -> str:
    """Without its citations, whose numbers are no claims."""
    for marker in set(patterns.matches(citation, sentence)):
        sentence = sentence.replace(f"[{marker}]", "")
    return sentence


def _share_problem(name: str, value: float) -> list[str]:
    return [] if 0 <= value <= 1 else [f"{name}: a share is between 0 and 1, not {value}."]
