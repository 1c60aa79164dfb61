"""Mutants: a module with one small change that should matter, made from its syntax tree.

A comparison turned or moved by one, `and` for `or`, a condition negated, a number off by one, a text emptied or filled, a
truth turned, + for -, a result thrown away. Docstrings, annotations and texts for people are left alone.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv}
_WORDS = 3  # a text of more words than that is for people


@dataclass(frozen=True)
class Place:
    """Where a module can be changed, and how. `number`: of the place, in the order of the source."""

    number: int
    line: int
    what: str


def places(source: str) -> list[Place]:
    """Every place of a module."""
    tree = ast.parse(source)
    return [Place(number, line, what) for number, (line, what, _) in enumerate(_changes(tree))]


def mutant(source: str, number: int) -> str:
    """The module with that one place changed."""
    tree = ast.parse(source)
    for at, (_, _, change) in enumerate(_changes(tree)):
        if at == number:
            change()
            return ast.unparse(ast.fix_missing_locations(tree))
    raise IndexError(number)


Change = Callable[[], None]


def _changes(tree: ast.Module) -> Iterator[tuple[int, str, Change]]:
    for node in _code(tree):
        yield from ((getattr(node, "lineno", 0), what, change) for what, change in _of(node))


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of what runs: no annotation, no docstring, no text of an `assert`."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "msg"):
            continue
        for child in value if isinstance(value, list) else [value]:
            is_docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            if isinstance(child, ast.AST) and not is_docstring:
                yield child
                yield from _code(child)


def _of(node: ast.AST) -> Iterator[tuple[str, Change]]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in _COMPARED:
            other = _COMPARED[type(op)]
            yield f"{type(op).__name__} -> {other.__name__}", lambda: node.ops.__setitem__(0, other())
        case ast.BoolOp(op=op):
            turned = ast.Or if isinstance(op, ast.And) else ast.And
            yield f"{type(op).__name__} -> {turned.__name__}", lambda: setattr(node, "op", turned())
        case ast.BinOp(op=op) if type(op) in _COMPUTED:
            computed = _COMPUTED[type(op)]
            yield f"{type(op).__name__} -> {computed.__name__}", lambda: setattr(node, "op", computed())
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            yield "condition negated", lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), test))
        case ast.Constant(value=bool() as value):
            yield f"{value} -> {not value}", lambda: setattr(node, "value", not value)
        case ast.Constant(value=int() as number):
            yield f"{number} -> {number + 1}", lambda: setattr(node, "value", number + 1)
        case ast.Constant(value=str() as text) if len(text.split()) <= _WORDS:
            yield f"{text!r} changed", lambda: setattr(node, "value", "" if text else "x")
        case ast.Constant(value=bytes() as data):
            yield f"{data!r} changed", lambda: setattr(node, "value", b"" if data else b"x")
        case ast.Return(value=ast.expr() as result) if not (isinstance(result, ast.Constant) and result.value is None):
            yield "returns None", lambda: setattr(node, "value", ast.Constant(None))
