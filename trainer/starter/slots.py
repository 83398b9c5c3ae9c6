"""What stands in the {slots} of the templates: rows of text/words.txt, and values that are computed.

A slot is named after a column; {animal2} is a second, different row. Slots of one table agree: {country} and {capital}.
"""

import functools
import pathlib
import random
import re

WORDS = pathlib.Path(__file__).parent / "text" / "words.txt"

SLOT = re.compile(r"{([a-z_]+)([23]?)}")

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

Row = dict[str, str]


@functools.cache
def tables() -> dict[str, list[Row]]:
    """Column name -> the rows of its table."""
    found: dict[str, list[Row]] = {}
    for block in WORDS.read_text(encoding="utf-8").split("\n\n"):
        head, *lines = [line for line in block.splitlines() if not line.startswith("#")] or [""]
        columns = head.strip("[]").split(" | ")
        rows = [dict(zip(columns, line.split(" | "), strict=True)) for line in lines]
        found |= dict.fromkeys(columns, rows)
    return found


def fill(rng: random.Random, *templates: str) -> list[str]:
    """The templates with their slots filled; a slot has one value in all of them."""
    columns = [match[1] for template in templates for match in SLOT.finditer(template)]
    values = {} if all(column in tables() for column in columns) else computed(rng)
    for column in columns:
        if column not in values:
            values |= _drawn(rng, column)
    return [_articles(SLOT.sub(lambda match: values[match[1] + match[2]], template)) for template in templates]


def _drawn(rng: random.Random, column: str) -> Row:
    rows = tables()[column]
    picked = rng.sample(rows, min(3, len(rows)))
    suffixes = ("", "2", "3")
    return {name + suffix: row[name] for row, suffix in zip(picked, suffixes, strict=False) for name in row}


def _articles(text: str) -> str:
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def computed(rng: random.Random) -> Row:
    """One value for every slot that no table holds."""
    return numbers(rng) | letters(rng) | contact(rng) | {"sentence": sentence(rng), "some_words": some_words(rng)}


def numbers(rng: random.Random) -> Row:
    """Two small numbers, their sum, and what follows."""
    a, b = rng.randint(0, 9), rng.randint(1, 9)
    digits = {"a": a, "b": b, "sum": a + b, "a_next": a + 1, "number": rng.randint(1, 99)}
    return {name: str(value) for name, value in digits.items()} | {"a_word": NUMBERS[a]}


def letters(rng: random.Random) -> Row:
    """A short word and its spelling."""
    short = [row[column] for column in ("color", "fruit", "animal") for row in tables()[column]]
    word = rng.choice([word for word in short if len(word) <= 6])
    return {"letters_word": word, "spelled": "-".join(word), "first_letter": word[0], "last_letter": word[-1]}


def contact(rng: random.Random) -> Row:
    """A made-up company, house number and phone number (555 01xx is kept for fiction)."""
    company = fill(rng, "{company_first} {company_last}")[0]
    return {"company": company, "house": str(rng.randint(2, 60)), "phone": f"555 01{rng.randint(0, 99):02}"}


def sentence(rng: random.Random) -> str:
    """A plain English sentence."""
    template = rng.choice((
        "The {adjective} {animal} {past} to {place}.",
        "{name} and {name2} {past} near {place} on {day}.",
        "There is a {color} {object} in {room}.",
        "In {month} we visit {city} and {city2}.",
        "I like {dish} with {drink}.",
        "My {object} is {color} and {adjective}.",
        "The {job} {duty} every {day}.",
        "{name} has {few} {plural} and a {animal}.",
    ))  # fmt: skip
    return fill(rng, template)[0]


def some_words(rng: random.Random) -> str:
    """Two to ten words in a row that mean nothing together."""
    columns = rng.choices(
        ("noun", "color", "name", "animal", "object", "city", "verb", "adjective", "few", "day"), k=10
    )
    return " ".join(rng.choice(tables()[column])[column] for column in columns[: rng.randint(2, 10)])
