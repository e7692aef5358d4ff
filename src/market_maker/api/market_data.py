"""/api/v1/market-data: the catalogue, price history, and imports from the inbox folder."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from market_maker.api.answers import AnyRequest, Service, answer, body_of
from market_maker.api.schemas import CatalogueView, ImportedFile, ImportFile, PriceList
from market_maker.domain.units import parse_duration, parse_instant

Text = Annotated[str, QueryParameter(max_length=40)]


class MarketData(Controller):
    """Market data."""

    path = "/api/v1/market-data"
    tags = ("market data",)

    @get("/catalogue", summary="What the lake holds")
    async def catalogue(self, service: Service, pair_id: FromQuery[UUID | None] = None) -> Response[CatalogueView]:
        """Return the recorded days with their counts and checksums."""
        return answer(CatalogueView, {"items": await service.directory.catalogue(pair_id)})

    @get("/bars/{pair_id:uuid}", summary="Price history")
    async def bars(
        self, service: Service, pair_id: FromPath[UUID], start: Text, end: Text, interval: Text = "1m"
    ) -> Response[PriceList]:
        """Return bars of mids in [start, end], from recorded data or from virtual trading."""
        items = await service.directory.bars(
            pair_id,
            parse_instant(start, "start"),
            parse_instant(end, "end", end_of_day=True),
            parse_duration(interval, "interval"),
        )
        return answer(PriceList, {"items": items})

    @post("/imports", status_code=201, opt={"body": ImportFile}, summary="Import a file of the inbox")
    async def add(self, request: AnyRequest, service: Service) -> Response[ImportedFile]:
        """Import a file that lies in the configured inbox folder."""
        wish = await body_of(request, ImportFile)
        data = await service.directory.import_from_inbox(
            wish.path, offset_negative_latency=wish.offset_negative_latency
        )
        return answer(ImportedFile, data, 201)
