"""No value ever becomes part of a statement: what is put into SQL text by formatting is a constant of the module.

Stricter than a linter's rule, which cannot tell a list of columns from a request's field.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "market_maker"
STATEMENT = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|COPY\s.+\s(FROM|TO)\s|WHERE\s|ORDER\s+BY)\b",
    re.DOTALL,
)
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")
MODULES = sorted(path for path in SOURCE.rglob("*.py") if re.search(STATEMENT, path.read_text(encoding="utf-8")))


def formatted_statements(tree: ast.Module) -> Iterator[tuple[int, list[ast.expr]]]:
    """Yield the line, and what is put in, of every statement that is made by an f-string, %, + or format()."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
            if STATEMENT.search(text):
                yield node.lineno, [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add) and is_statement(node.left):
            yield node.lineno, [node.right]
        elif is_method(node, "format") and is_statement(node.func.value):
            yield node.lineno, [*node.args, *(keyword.value for keyword in node.keywords)]


def is_method(node: ast.AST, name: str) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name


def is_statement(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(STATEMENT.search(node.value))


def is_constant(node: ast.expr) -> bool:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    if isinstance(node, ast.IfExp):  # one of two fixed pieces of text
        return is_constant(node.body) and is_constant(node.orelse)
    if is_method(node, "join"):
        return all(map(is_constant, [node.func.value, *node.args]))
    return isinstance(node, ast.Constant) or bool(CONSTANT.fullmatch(name))


def offences(text: str) -> list[int]:
    return [line for line, parts in formatted_statements(ast.parse(text)) if not all(map(is_constant, parts))]


def test_the_rule_finds_what_it_forbids() -> None:
    assert offences('q = f"SELECT a FROM t WHERE b = {value}"') == [1]
    assert offences('q = "DELETE FROM t WHERE b = " + value') == [1]
    assert offences('q = "SELECT a FROM t WHERE b = %s" % value') == [1]
    assert offences('q = "SELECT a FROM {}".format(table)') == [1]
    assert offences('q = "UPDATE t SET a = {}".format(value)') == [1]
    assert offences('q = f"SELECT {COLUMNS} FROM t WHERE b = %s"') == []
    assert offences("""q = f"COPY t ({', '.join(COLUMNS)}) FROM STDIN" """) == []
    assert offences("""q = f"COPY t ({', '.join(columns)}) FROM STDIN" """) == [1]
    assert offences("""q = f"SELECT a FROM t {'FOR UPDATE' if lock else ''}" """) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_constants_are_formatted_into_sql(path: Path) -> None:
    lines = offences(path.read_text(encoding="utf-8"))
    assert not lines, f"pass the values as parameters, or compose with psycopg.sql: lines {lines}"


def test_there_is_sql_to_check() -> None:
    assert len(MODULES) > 3
