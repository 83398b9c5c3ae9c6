"""The formula of a multi grader (contract section 3): `+ - * / ^`, parentheses, and the functions below.

Parsed here and never handed to eval(). Grammar, tightest last; `^` binds from the right and before a sign, so that
-2^2 is -4 and 2^-1 is 0.5:

    sum     = term (("+" | "-") term)*
    term    = sign (("*" | "/") sign)*
    sign    = ("+" | "-") sign | power
    power   = atom ("^" sign)?
    atom    = number | name | name "(" sum ("," sum)* ")" | "(" sum ")"
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MAX_CHARACTERS = 2000
MAX_DEPTH = 50
"""Of nesting; beyond it nobody reads a formula, and the parser would meet Python's own limit."""

_token = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)|(?P<sign>[-+*/^(),]))"
)

_ONE: dict[str, Callable[[float], float]] = {
    "abs": abs,
    "floor": lambda value: float(math.floor(value)),
    "ceil": lambda value: float(math.ceil(value)),
    "exp": math.exp,
    "sqrt": math.sqrt,
    "log": math.log,
}
_MANY: dict[str, Callable[..., float]] = {"min": min, "max": max}
FUNCTIONS = (*_MANY, *_ONE)

_OPERATIONS: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": math.pow,  # raises on what has no real result, where ** would give a complex number
}


class FormulaError(ValueError):
    """The formula cannot be read; the message says where."""


class UnknownVariable(ValueError):
    """The formula names a value that is not there."""


class Undefined(ArithmeticError):
    """The formula has no finite value here: a division by zero, the root of a negative number, an overflow."""


@dataclass(frozen=True, slots=True)
class _Number:
    value: float


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


@dataclass(frozen=True, slots=True)
class _Apply:
    function: Callable[..., float]
    arguments: tuple["_Node", ...]


@dataclass(frozen=True, slots=True)
class _Chain:
    """Operators of one rank, from left to right: flat, so that a long sum is no deep one."""

    first: "_Node"
    rest: tuple[tuple[Callable[[float, float], float], "_Node"], ...]


_Node = _Number | _Name | _Apply | _Chain


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula that was read."""

    text: str
    variables: frozenset[str]
    _root: _Node

    def value(self, of: Mapping[str, float]) -> float:
        """Its value for these variables.

        Raises:
            UnknownVariable: it names one that is not among them.
            Undefined: it has no finite value.
        """
        try:
            result = float(_evaluate(self._root, of))
        except (ArithmeticError, ValueError) as error:
            if isinstance(error, UnknownVariable):
                raise
            raise Undefined(f"`{self.text}` has no value here: {error}") from None
        if not math.isfinite(result):
            raise Undefined(f"`{self.text}` is not finite here")
        return result


def parse(text: str) -> Formula:
    """Read a formula. Raises FormulaError."""
    if len(text) > MAX_CHARACTERS:
        raise FormulaError(f"a formula has at most {MAX_CHARACTERS} characters; this one has {len(text)}")
    parser = _Parser(text)
    root = parser.whole()
    return Formula(text, frozenset(parser.names), root)


class _Parser:
    """Recursive descent over the tokens of one formula."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._end = len(text)
        self._at = 0
        self._depth = 0
        self.names: set[str] = set()

    def whole(self) -> _Node:
        root = self._sum()
        if self._at < len(self._tokens):
            raise FormulaError(f"did not expect '{self._peek()}' at character {self._position()}")
        return root

    def _sum(self) -> _Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise FormulaError(f"a formula is nested at most {MAX_DEPTH} levels deep")
        node = self._chain("+-", lambda: self._chain("*/", self._sign))
        self._depth -= 1
        return node

    def _chain(self, operators: str, part: Callable[[], _Node]) -> _Node:
        first = part()
        rest: list[tuple[Callable[[float, float], float], _Node]] = []
        while (operator := self._peek()) and operator in operators:
            self._at += 1
            rest.append((_OPERATIONS[operator], part()))
        return _Chain(first, tuple(rest)) if rest else first

    def _sign(self) -> _Node:
        """Signs are folded in a loop: a row of them nests without parentheses."""
        negative = False
        while (sign := self._peek()) in ("+", "-"):
            negative ^= sign == "-"
            self._at += 1
        node = self._power()
        return _Apply(_OPERATIONS["-"], (_Number(0.0), node)) if negative else node

    def _power(self) -> _Node:
        base = self._atom()
        if self._peek() != "^":
            return base
        self._at += 1
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise FormulaError(f"a formula is nested at most {MAX_DEPTH} levels deep")
        node = _Apply(_OPERATIONS["^"], (base, self._sign()))
        self._depth -= 1
        return node

    def _atom(self) -> _Node:
        kind, text, position = self._next()
        if kind == "number":
            return _Number(float(text))
        if kind == "name":
            return self._call(text, position) if self._peek() == "(" else self._variable(text)
        if text == "(":
            node = self._sum()
            self._expect(")")
            return node
        raise FormulaError(f"expected a number, a variable or '(' at character {position}, found '{text}'")

    def _variable(self, name: str) -> _Node:
        self.names.add(name)
        return _Name(name)

    def _call(self, name: str, position: int) -> _Node:
        if name not in FUNCTIONS:
            raise FormulaError(f"unknown function '{name}' at character {position}; there are {', '.join(FUNCTIONS)}")
        self._expect("(")
        arguments = [self._sum()]
        while self._peek() == ",":
            self._at += 1
            arguments.append(self._sum())
        self._expect(")")
        if name in _ONE and len(arguments) != 1:
            raise FormulaError(f"'{name}' at character {position} takes one value, found {len(arguments)}")
        return _Apply(_ONE.get(name) or _many(name), tuple(arguments))

    def _peek(self) -> str:
        """The next token; empty at the end."""
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _position(self) -> int:
        return self._tokens[self._at][2] if self._at < len(self._tokens) else self._end + 1

    def _next(self) -> tuple[str, str, int]:
        if self._at == len(self._tokens):
            raise FormulaError("the formula ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, sign: str) -> None:
        if self._peek() != sign:
            found = f"'{self._peek()}'" if self._peek() else "the end"
            raise FormulaError(f"expected '{sign}' at character {self._position()}, found {found}")
        self._at += 1


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """Kind, text and position (from 1) of each token."""
    found: list[tuple[str, str, int]] = []
    end = len(text.rstrip())
    at = 0
    while at < end:
        match = _token.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise FormulaError(f"did not expect '{text[at]}' at character {at + 1}")
        kind = str(match.lastgroup)
        found.append((kind, match[kind], match.start(kind) + 1))
        at = match.end()
    return found


def _many(name: str) -> Callable[..., float]:
    function = _MANY[name]
    return lambda *values: function(values)


def _evaluate(node: _Node, of: Mapping[str, float]) -> float:
    match node:
        case _Number(value):
            return value
        case _Name(name):
            if name not in of:
                raise UnknownVariable(f"the formula names `{name}`; there are {', '.join(of) or 'no variables'}")
            return of[name]
        case _Apply(function, arguments):
            return function(*[_evaluate(argument, of) for argument in arguments])
        case _Chain(first, rest):
            value = _evaluate(first, of)
            for operation, operand in rest:
                value = operation(value, _evaluate(operand, of))
            return value
