"""The style that can be read off the files: sizes, names, words that must not be there."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SOURCE = PROJECT / "src" / "market_maker"
MODULE_LINES = 500
FUNCTION_LINES = 70
SLACK = 10  # "about 70 lines"
BANNED_NAMES = {"utils", "util", "common", "misc", "base", "core", "manager", "managers", "helpers"}

THIS_FILE = Path(__file__).resolve()


def committed_files() -> list[Path]:
    """Return every file of the project that is, or would be, committed."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, check=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    return [PROJECT / name for name in names if name and (PROJECT / name).is_file()]


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


MODULES = sorted(SOURCE.rglob("*.py"))
FILES = [path for path in committed_files() if path != THIS_FILE]


def short(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def findings(pattern: str, paths: list[Path], allowed: str | None = None) -> list[str]:
    """Return `file:line: text` for each line that matches `pattern` and not `allowed`."""
    search, forgive = re.compile(pattern), re.compile(allowed) if allowed else None
    return [
        f"{short(path)}:{number}: {line.strip()[:100]}"
        for path in paths
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if search.search(line) and not (forgive and forgive.search(line))
    ]


def test_there_is_something_to_check() -> None:
    assert len(MODULES) > 10
    assert PROJECT / "Makefile" in FILES


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_module_is_short_and_says_what_it_owns(path: Path) -> None:
    text = text_of(path)
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert docstring, "a module opens with what it owns and what it refuses to know"
    lines = len(text.splitlines())
    says_why = re.search(r"\blong(er)?\b", docstring, re.IGNORECASE)
    assert lines <= MODULE_LINES or says_why, f"{lines} lines: split it, or say at its top why it is longer"


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_functions_fit_a_screen(path: Path) -> None:
    if path.name == "kernel.py":
        return  # a compiled loop is one function
    too_long = {
        node.name: length
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.body[0].lineno + 1 - docstring_lines(node))
        > FUNCTION_LINES + SLACK
    }
    assert not too_long


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines the docstring takes: words do not make a function long."""
    first = node.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return (first.end_lineno or first.lineno) - first.lineno + 1 if is_docstring else 0


def test_names_name_the_job() -> None:
    bad = [
        short(path)
        for folder in (SOURCE, PROJECT / "tests", PROJECT / "examples", PROJECT / "benchmarks")
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts and BANNED_NAMES & set(re.split(r"[_.]", path.name.removeprefix("test_")))
    ]
    assert not bad


def test_nothing_is_left_to_do() -> None:
    code = [path for path in FILES if path.suffix in {".py", ".sql", ".yml", ".yaml", ".toml", ".ts", ".tsx"}]
    assert not findings(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError", code, allowed=r'"FIX",')


def test_no_path_of_one_machine() -> None:
    paths = [path for path in FILES if path.name != "LICENSE"]
    assert not findings(r"/work/|/home/\w+|/root/|/Users/\w+|/tmp/(?!\{)", paths, allowed=r"# noqa: S108|\"/root/?\"")


def test_no_source_of_packages_is_named() -> None:
    """Lock files must work with any package index; nothing else needs to know one."""
    index = (
        r"files\.python" + r"hosted|py" + r"pi\.(org|python)|registry\.npm" + r"js|--(extra-)?index-url|--find-links"
    )
    assert not findings(index, FILES, allowed=r"--no-emit-index-url")


def test_no_code_from_outside() -> None:
    """Promise R19: nothing that comes from outside can become code."""
    python = [path for path in MODULES if path.suffix == ".py"]
    calls = (
        r"(?<![\w.])(eval|exec)\(|\bpickle\b|\bmarshal\.load|\bshelve\b|\bdill\b|\bjoblib\b|"
        r"\byaml\.(load|full_load|unsafe_load)\(|allow_pickle\s*=\s*True|\bos\.system\(|shell\s*=\s*True"
    )
    assert not findings(calls, python)


def test_numpy_files_are_read_without_pickle() -> None:
    calls = findings(r"\bnp\.load\(|\bnumpy\.load\(", MODULES)
    assert not [line for line in calls if "allow_pickle=False" not in line and "mmap_mode" not in line]


def test_one_module_reads_the_clock() -> None:
    readers = r"\btime\.(time|time_ns)\(|datetime\.(now|utcnow|today)\(|\bdate\.today\("
    found = findings(readers, MODULES)
    # ids.py: a UUIDv7 begins with the time of its making, and nothing reads that time back.
    allowed = ("src/market_maker/domain/clock.py:", "src/market_maker/domain/ids.py:")
    assert not [line for line in found if not line.startswith(allowed)]


def test_chance_comes_from_a_seed() -> None:
    """Style section 5: a generator is handed in. (Ids and jitter of retries are not part of a result.)"""
    found = findings(
        r"\bnp\.random\.(rand|randn|seed|random|normal|choice|default_rng\(\))\b|\brandom\.seed\(", MODULES
    )
    assert not found


def test_import_linter_knows_every_package() -> None:
    text = text_of(PROJECT / ".importlinter")
    layers = set(re.findall(r"\((\w+)\)", text)) | {"client"}
    found = {path.stem for path in SOURCE.glob("*.py")} | {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert found - layers - {"__init__"} == set()
