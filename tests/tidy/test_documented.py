"""Documentation that can go stale must fail when it does: reference pages, links, examples, changelog."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs"
EXAMPLES = sorted((PROJECT / "examples").glob("[0-9]*.py"))
EXAMPLE_LINES = 40
EXAMPLE_SECONDS = 100
MARKDOWN = sorted([*DOCS.rglob("*.md"), *PROJECT.glob("*.md")])


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """Return docs/generate_reference.py as a module."""
    specification = importlib.util.spec_from_file_location("generate_reference", DOCS / "generate_reference.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def reference(name: str) -> str:
    path = DOCS / "reference" / name
    assert path.is_file(), f"{path.name} is missing; run: make reference"
    return path.read_text(encoding="utf-8")


def test_reference_pages_are_what_the_code_says(generator: ModuleType) -> None:
    pages = generator.pages()
    assert set(pages) == set(generator.PAGES)
    assert [name for name, text in pages.items() if reference(name) != text] == [], "run: make reference"


def test_reference_pages_all_have_a_source(generator: ModuleType) -> None:
    orphans = {path.name for path in (DOCS / "reference").glob("*.md")} - set(generator.pages())
    assert not orphans


def test_every_setting_is_documented(generator: ModuleType) -> None:
    page = reference("settings.md")
    names = dict(generator.setting_names())
    assert len(names) > 20
    assert [name for name in names if f"| `{name}` |" not in page] == []
    assert [name for name, field in names.items() if not field.description] == []


def test_every_metric_is_documented() -> None:
    from market_maker.monitoring import metrics

    page = reference("metrics.md")
    assert [metric.name for metric in metrics.documented() if f"| `{metric.name}` |" not in page] == []
    assert [metric.name for metric in metrics.documented() if not metric.help] == []


def test_every_route_is_documented(generator: ModuleType) -> None:
    page = reference("routes.md")
    routes = list(generator.routes())
    assert len(routes) > 10
    assert [route for route in routes if f"| {route[0]} | `{route[1]}` |" not in page] == []
    assert [route for route in routes if not route[2]] == []


def test_every_event_is_documented() -> None:
    from market_maker.domain.events import EventType

    page = reference("events.md")
    assert [topic for topic in EventType if f"| `{topic.value}` |" not in page] == []


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda path: str(path.relative_to(PROJECT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Check links between our own pages; addresses of others are theirs to keep."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)|<img[^>]* src=\"([^\"]+)\"", text)
    broken = []
    for target in (link or image for link, image in targets):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        other = (page.parent / path).resolve() if path else page
        if not other.exists() or (anchor and other.suffix == ".md" and anchor not in anchors(other)):
            broken.append(target)
    assert not broken


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def test_paths_named_in_the_texts_exist() -> None:
    """A path in backticks that begins with a folder of ours is a promise that it is there."""
    named = {
        (page.name, path)
        for page in MARKDOWN
        for path in re.findall(r"`((?:src|docs|tests|examples|benchmarks)/[\w./-]+)`", page.read_text(encoding="utf-8"))
    }
    assert [pair for pair in sorted(named) if not (PROJECT / pair[1]).exists()] == []


def test_decisions_are_listed() -> None:
    listed = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert [page.name for page in pages if f"decisions/{page.name}" not in listed] == []
    numbers = [int(page.name[:4]) for page in pages]
    assert numbers == list(range(1, len(numbers) + 1))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert all(f"**{part}" in text for part in ("Status", "Context", "Options", "Choice", "Price paid")), page.name


def test_changelog_has_an_unreleased_section() -> None:
    text = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert headings[0] == "Unreleased"
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_short_and_runs(example: Path, tmp_path: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) <= EXAMPLE_LINES
    environment = {**os.environ, "MM_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(PROJECT / "src")}
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", str(example)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=EXAMPLE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip(), "an example shows something"
