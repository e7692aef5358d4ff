"""Recorded market data, imports, quality; health."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta

from market_maker.api.schemas.bases import Request, View


class RecordedDay(View):
    """One day of one kind of events in the lake."""

    venue: str
    symbol: str
    kind: str
    day: str
    import_id: UUID
    path: str
    rows: int
    bytes: int
    sha256: str
    first_ts: str
    last_ts: str
    quality: dict[str, Any]


class CatalogueView(View):
    """What the lake holds."""

    items: list[RecordedDay]


class PriceView(View):
    """One bar of mids; `ts` is its start in ns."""

    ts: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quotes: int


class PriceList(View):
    """Bars, oldest first."""

    items: list[PriceView]


class ImportFile(Request):
    """A file of the configured inbox folder, by its name there, and what may be done to get it in.

    Tick, lot, contract and fees are those of a new pair; `PATCH /api/v1/pairs/{pair_id}` changes them of one that is there.

    `offset_negative_latency`, `offset_ns`, `sort` and `drop_off_book` change the data and are recorded; `force` imports
    what a rule of quality refuses; `replace` takes the place of days that other files have given.
    """

    path: Annotated[str, Meta(min_length=1, max_length=500)]
    format: Annotated[str, Meta(min_length=1, max_length=60)] | None = None
    venue: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    symbol: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    symbols: Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=1000)] = []
    date: dt.date | None = None
    tick_size: Decimal | None = None
    lot_size: Decimal | None = None
    contract_type: Literal["SPOT", "LINEAR", "INVERSE"] | None = None
    contract_multiplier: Decimal | None = None
    maker_fee: Decimal | None = None
    taker_fee: Decimal | None = None
    offset_negative_latency: bool = False
    offset_ns: Annotated[int, Meta(ge=-(2**53), le=2**53)] = 0
    sort: bool = False
    drop_off_book: bool = False
    force: bool = False
    replace: bool = False


class ImportView(View):
    """An import: how far it is, and, when it is asked for alone and has ended, its report."""

    import_id: UUID
    source: str
    importer: str
    importer_version: str
    options: dict[str, Any]
    state: Literal["PENDING", "RUNNING", "PUBLISHING", "COMPLETED", "FAILED"]
    verdict: Literal["PASS", "WARN", "FAIL"]
    progress_percent: float
    rows: int
    created_ts: str
    error: str | None = None
    finished_ts: str | None = None
    report: dict[str, Any] | None = None


class ImportPage(View):
    """Imports, newest first."""

    items: list[ImportView]
    next: UUID | None = None


class TableQuality(View):
    """Figures and findings of one table of one recorded day (bars: year)."""

    day: dt.date
    table: str
    verdict: Literal["PASS", "WARN", "FAIL"]
    findings: list[dict[str, Any]]
    figures: dict[str, Any]


class QualityView(View):
    """The quality of recorded days."""

    items: list[TableQuality]


class HealthView(View):
    """Whether the service is well, check by check."""

    state: Literal["ok", "degraded", "down"]
    checks: dict[str, Any]
