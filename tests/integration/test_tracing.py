"""The whole service in one process, traced: request, commit, publication and assessment are there and belong together."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from market_maker import bootstrap
from market_maker.domain.ids import DEFAULT_PAIR_ID
from market_maker.domain.order import NewOrder, OrderType, Side
from market_maker.monitoring import tracing
from market_maker.service import PlaceOptions
from market_maker.settings import load_settings


async def test_an_order_can_be_followed_from_commit_to_bus(database_dsn: str, tmp_path: Path) -> None:
    module = pytest.importorskip(
        "opentelemetry.sdk.trace.export.in_memory_span_exporter", reason="the extra otel is not installed"
    )
    exporter: Any = module.InMemorySpanExporter()
    settings = load_settings(
        None, overrides=[f"database_url={database_dsn}", f"data_dir={tmp_path}", "simulator.execution_delay=5ms"],
        environment={},
    )  # fmt: skip
    tracing.configure_tracing(None, exporter=exporter)
    try:
        async with bootstrap.running(settings) as runtime:
            order = NewOrder(DEFAULT_PAIR_ID, Side.BUY, OrderType.LIMIT, Decimal("0.01"), price=Decimal(40000))
            await runtime.service.submit(order, PlaceOptions(correlation_id="abc-1", wait=True))
    finally:
        tracing.stop_tracing()
    spans = exporter.get_finished_spans()
    commits = [each for each in spans if each.name == "commit"]
    assert [each.attributes["orders"] for each in commits if "abc-1" in each.attributes["correlation_ids"]] == [1]
    assert {each.attributes["pair"] for each in commits} == {"BTC-USDT"}
    assert any(each.name == "publish" and each.attributes["events"] for each in spans)
