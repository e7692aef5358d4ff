"""The built pages: finds them, and puts the data of a report into its page. Their source is the package `dashboard/`.

A page is one HTML file with everything in it; it asks for nothing over a network. Knows nothing of runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from market_maker.domain.errors import DataError, Unavailable

BUILT = Path(__file__).parent / "built"
"""Where `make setup` puts the pages; not part of the source."""
REPORT_BYTES_MAX = 2_000_000
_PLACE = '<script type="application/json" id="report-data"></script>'


def report_template(folder: Path = BUILT) -> str:
    """Return the page of a report without its data.

    Raises
    ------
    Unavailable
        It has not been built.
    """
    path = folder / "report.html"
    if not path.is_file():
        raise Unavailable("the report page has not been built; run `make setup`, which needs no Node.js of its own")
    return _read(path, path.stat().st_mtime_ns)


@cache
def _read(path: Path, _changed_ns: int) -> str:
    return path.read_text("utf-8")


def report_page(data: Mapping[str, Any], template: str) -> bytes:
    """Return a page that shows `data`.

    Parameters
    ----------
    data : JSON values
    template : as `report_template`

    Raises
    ------
    DataError
        The page has no place for data, or would exceed 2 MB.

    Notes
    -----
    JSON in a script element ends at the first `</script`, and `<!--` changes how its rest is read; so every `<` is written as
    an escape, which JSON readers turn back.
    """
    before, place, after = template.partition(_PLACE)
    if not place:
        raise DataError("the built report page has no place for data; build it anew: make setup")
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    page = f"{before}{_PLACE.removesuffix('</script>')}{text}</script>{after}".encode()
    if len(page) > REPORT_BYTES_MAX:
        raise DataError(f"the report would have {len(page):,} bytes, {REPORT_BYTES_MAX:,} at most; choose fewer runs")
    return page
