"""/api/v1/market-data: the catalogue, bars, books at an instant, quality, and imports from the inbox folder."""

from __future__ import annotations

import datetime as dt
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from market_maker.api.answers import After, AnyRequest, Limit, Service, answer, body_of, page
from market_maker.api.schemas import (
    BookView,
    CatalogueView,
    ImportFile,
    ImportPage,
    ImportView,
    PriceList,
    QualityView,
)
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.units import parse_duration, parse_instant

Text = Annotated[str, QueryParameter(max_length=40)]
Day = Annotated[str | None, QueryParameter(max_length=40, description="UTC day, included")]
Depth = Annotated[int, QueryParameter(ge=1, le=1000, description="levels a side")]


class MarketData(Controller):
    """Market data."""

    path = "/api/v1/market-data"
    tags = ("market data",)

    @get("/catalogue", summary="What the lake holds")
    async def catalogue(self, service: Service, pair_id: FromQuery[UUID | None] = None) -> Response[CatalogueView]:
        """Return the recorded days with their counts, checksums and quality as imported."""
        return answer(CatalogueView, {"items": await service.directory.catalogue(pair_id)})

    @get("/bars/{pair_id:uuid}", summary="Price history")
    async def bars(
        self, service: Service, pair_id: FromPath[UUID], start: Text, end: Text, interval: Text = "1m"
    ) -> Response[PriceList]:
        """Return bars in [start, end]: of recorded mids, trades or stored bars, or of virtual trading."""
        items = await service.directory.bars(
            pair_id,
            parse_instant(start, "start"),
            parse_instant(end, "end", end_of_day=True),
            parse_duration(interval, "interval"),
        )
        return answer(PriceList, {"items": items})

    @get("/orderbook/{pair_id:uuid}", summary="The recorded book at an instant")
    async def book(self, service: Service, pair_id: FromPath[UUID], at: Text, depth: Depth = 20) -> Response[BookView]:
        """Return the book as it had been received at an instant (UTC), or say why it is not known."""
        found = await service.directory.order_book_at(pair_id, parse_instant(at, "at"), depth)
        sides = {
            name: [{"price": f"{level.price:f}", "quantity": f"{level.quantity:f}"} for level in levels]
            for name, levels in (("bids", found.bids), ("asks", found.asks))
        }
        return answer(BookView, {"pair_id": pair_id, "ts": str(found.ts), "sequence": found.sequence, **sides})

    @get("/quality/{pair_id:uuid}", summary="The quality of recorded days")
    async def quality(
        self, service: Service, pair_id: FromPath[UUID], first: Day = None, last: Day = None
    ) -> Response[QualityView]:
        """Measure recorded days (UTC, both included) anew: figures, findings and a verdict by day and table."""
        items = await service.directory.quality(pair_id, _day(first, "first"), _day(last, "last"))
        return answer(QualityView, {"items": items})

    @post("/imports", status_code=202, opt={"body": ImportFile}, summary="Import a file of the inbox")
    async def add(self, request: AnyRequest, service: Service) -> Response[ImportView]:
        """Queue the import of a file that lies in the configured inbox folder; its progress is at Location."""
        wish = await body_of(request, ImportFile)
        options = msgspec.to_builtins(wish, builtin_types=(dt.date,))
        data = await service.directory.add_import(options.pop("path"), _set(options))
        return answer(ImportView, data, 202, {"Location": f"{self.path}/imports/{data['import_id']}"})

    @get("/imports", summary="List imports")
    async def imports(self, service: Service, after: After = None, limit: Limit = 100) -> Response[ImportPage]:
        """Return imports, newest first."""
        return page(ImportPage, await service.directory.imports(after, limit), "import_id", limit)

    @get("/imports/{import_id:uuid}", summary="One import with its progress and report")
    async def one(self, service: Service, import_id: FromPath[UUID]) -> Response[ImportView]:
        """Return an import: how far it is, and its report once it has ended."""
        return answer(ImportView, await service.directory.import_of(import_id))


def _set(options: dict[str, object]) -> dict[str, object]:
    """Return the options that differ from their defaults, as JSON values."""
    return {
        name: value.isoformat() if isinstance(value, dt.date) else value
        for name, value in options.items()
        if value not in (None, False, 0, [])
    }


def _day(text: str | None, field: str) -> dt.date | None:
    if text is None:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest.of(field, text, "a UTC day such as 2024-08-08") from None
