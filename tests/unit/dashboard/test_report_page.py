"""The page: where its data goes, what must be escaped, how large it may be, and what is said when it is not there."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from market_maker import dashboard
from market_maker.dashboard import report_page, report_template
from market_maker.domain.errors import DataError, Unavailable

TEMPLATE = '<head></head><body><script type="application/json" id="report-data"></script><script>x</script></body>'


def test_data_stands_in_the_page_and_comes_back_as_it_was() -> None:
    data = {"name": "</script><script>alert(1)</script><!-- é \u2028", "n": [1, 2.5, None]}
    page = report_page(data, TEMPLATE).decode()
    found = re.search(r'id="report-data">(.*?)</script>', page)
    assert found
    assert json.loads(found[1]) == data
    assert "<" not in found[1]
    assert page.count("<script") == 2, "the data opened no script of its own"


def test_a_page_without_a_place_and_one_that_is_too_large_are_refused() -> None:
    with pytest.raises(DataError, match="make setup"):
        report_page({}, "<body></body>")
    with pytest.raises(DataError, match=r"2,000,\d+ bytes, 2,000,000 at most"):
        report_page({"x": "a" * (2_000_001 - len(TEMPLATE) - len('{"x":""}'))}, TEMPLATE)
    assert len(report_page({"x": "a" * (2_000_000 - len(TEMPLATE) - len('{"x":""}'))}, TEMPLATE)) == 2_000_000


def test_numbers_that_are_no_json_are_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        report_page({"x": float("nan")}, TEMPLATE)


def test_a_missing_page_says_what_builds_it(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="run `make setup`"):
        report_template(tmp_path)


def test_a_page_that_is_built_anew_is_read_anew(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("one", "utf-8")
    assert report_template(tmp_path) == "one"
    page.write_text("two", "utf-8")
    changed = page.stat().st_mtime_ns + 10**9
    os.utime(page, ns=(changed, changed))
    assert report_template(tmp_path) == "two"


def test_the_built_page_asks_for_nothing() -> None:
    if not (dashboard.BUILT / "report.html").is_file():
        pytest.skip("the report page has not been built (make pages)")
    page = report_template()
    assert report_page({"runs": []}, page)
    assert re.findall(r"<script[^>]*\ssrc=|<link[^>]*href=\"(?!data:)|@import|url\((?!data:)", page) == []
    assert "default-src 'none'" in page
    assert len(page) < 400_000
