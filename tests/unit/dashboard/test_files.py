"""The files of the dashboard: found, packed, tagged; nothing else is handed out."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pytest

from market_maker.dashboard.files import BUILT, asset, start_page


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<p>page</p>", "utf-8")
    (tmp_path / "assets" / "index-a1.js").write_text("let a = 1;" * 50, "utf-8")
    (tmp_path / "assets" / "notes.txt").write_text("not a part of a page", "utf-8")
    (tmp_path / "secret.js").write_text("outside of the assets", "utf-8")
    return tmp_path


def test_parts_are_packed_whole_and_tagged_by_content(built: Path) -> None:
    page = start_page(built)
    part = asset("index-a1.js", built)
    assert page is not None
    assert part is not None
    assert gzip.decompress(part.packed) == part.body == b"let a = 1;" * 50
    assert len(part.packed) < len(part.body)
    assert (page.media_type, part.media_type) == ("text/html", "text/javascript")
    assert page.tag != part.tag


@pytest.mark.parametrize(
    "name",
    [
        "../secret.js",
        "..%2fsecret.js",
        "/etc/passwd",
        "notes.txt",
        "missing.js",
        "",
        ".",
        "..",
        "a/b.js",
        "index-a1.js\x00",
    ],
)
def test_nothing_else_is_handed_out(built: Path, name: str) -> None:
    assert asset(name, built) is None


def test_a_new_build_is_read_anew_and_no_build_is_none(built: Path, tmp_path: Path) -> None:
    before = start_page(built)
    path = built / "index.html"
    path.write_text("<p>newer</p>", "utf-8")
    changed = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(changed, changed))
    after = start_page(built)
    assert before is not None
    assert after is not None
    assert (after.body, after.tag != before.tag) == (b"<p>newer</p>", True)
    assert start_page(tmp_path / "nowhere") is None


def test_the_built_page_is_small_and_asks_only_its_own_service() -> None:
    page = start_page()
    if page is None:
        pytest.skip("the dashboard has not been built (make pages)")
    text = page.body.decode()
    parts = re.findall(r'(?:src|href)="\./assets/([^"]+)"', text)
    assert len(parts) >= 2
    found = [asset(name) for name in parts]
    assert all(part is not None for part in found)
    files = [path for path in BUILT.rglob("*") if path.is_file() and path.name != "report.html"]
    assert sum(path.stat().st_size for path in files) < 1_000_000
    assert re.findall(r"<(?:script|style)>|\son\w+=|https?://(?!www\.w3\.org)", text) == []
