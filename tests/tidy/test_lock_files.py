"""The lock files answer to pyproject.toml: everything asked for is pinned, by hash, and the two agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
RUNTIME, DEVELOPMENT = "requirements.lock", "requirements-dev.lock"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=;!~ ]", name.strip())[0]).lower()


def pins(name: str) -> dict[str, set[str]]:
    """Return the versions pinned for each package (more than one where they depend on the platform)."""
    found: dict[str, set[str]] = {}
    for line in (PROJECT / name).read_text(encoding="utf-8").splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", line)
        if match:
            found.setdefault(normal(match[1]), set()).add(match[2])
    return found


def wanted(group: str | None) -> set[str]:
    """Return the names that the project, or one of its groups, asks for."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    if group is None:
        return {normal(name) for name in project["project"]["dependencies"]}
    names: set[str] = set()
    for item in project["dependency-groups"][group]:
        names |= wanted(item["include-group"]) if isinstance(item, dict) else {normal(item)}
    return names


def test_everything_asked_for_is_pinned() -> None:
    assert (wanted(None) | wanted("build")) - set(pins(RUNTIME)) == set(), "run: make lock"
    assert (wanted(None) | wanted("dev")) - set(pins(DEVELOPMENT)) == set(), "run: make lock"


def test_nothing_else_is_asked_for() -> None:
    """A package that pyproject.toml asked for once and asks for no more leaves the lock file too."""
    text = (PROJECT / RUNTIME).read_text(encoding="utf-8")
    named = {
        normal(block.split("==")[0])
        for block in re.split(r"\n(?=[A-Za-z0-9])", text)
        if re.search(r"#\s+(via )?market-maker \(pyproject\.toml", block)
    }
    assert named == wanted(None) | wanted("build"), "run: make lock"


def test_both_files_pin_the_same_versions() -> None:
    runtime, development = pins(RUNTIME), pins(DEVELOPMENT)
    assert {name for name in runtime if runtime[name] != development.get(name)} == set(), "run: make lock"


@pytest.mark.parametrize("name", [RUNTIME, DEVELOPMENT])
def test_every_pin_has_hashes(name: str) -> None:
    text = (PROJECT / name).read_text(encoding="utf-8")
    blocks = [block for block in re.split(r"\n(?=[A-Za-z0-9])", text) if "==" in block.split("\n")[0]]
    assert len(blocks) > 30
    assert [block.split("\n")[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_the_installer_can_be_cut_out_of_the_lock_file() -> None:
    """The Makefile takes from `uv==` to the first line that does not go on."""
    block = re.search(r"^uv==(?:.*\\\n)+.*$", (PROJECT / DEVELOPMENT).read_text(encoding="utf-8"), re.MULTILINE)
    assert block
    assert block[0].count("--hash=sha256:") > 3
    assert "/^uv==/,/[^\\\\]$$/p" in (PROJECT / "Makefile").read_text(encoding="utf-8")
