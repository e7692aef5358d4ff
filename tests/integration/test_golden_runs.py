"""Every shipped strategy on a real recording: figures that change only when someone means them to.

They stand in golden_runs.json. Renew them, look at the difference, and say why in the changelog:

    MM_TEST_RENEW_GOLDEN=1 pytest tests/integration/test_golden_runs.py
"""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from market_data_builders import import_files
from market_maker.backtest.engine import RunConfig, backtest
from market_maker.domain.instrument import Instrument
from market_maker.market_data.ingest import ImportOptions, Repairs
from market_maker.storage.lake import Lake
from market_maker.strategies.contract import SHIPPED, find_strategy

TABLE = Path(__file__).with_name("golden_runs.json")
RENEW = bool(os.environ.get("MM_TEST_RENEW_GOLDEN"))
LIMIT = 50
PAIR = Instrument(
    UUID(int=1), "binance-usdm", "BTCUSDT", "BTC", "USDT", Decimal("0.1"), Decimal("0.001"),
    maker_fee=Decimal("0.0002"), taker_fee=Decimal("0.0005"),
)  # fmt: skip
QUOTED = {"order_lots": 5, "max_inventory_lots": LIMIT}
PARAMETERS: dict[str, dict[str, float]] = {
    "avellaneda_stoikov": QUOTED | {"risk_aversion": 2e-5, "horizon_ns": 300 * 10**9, "window_samples": 1200},
    "avellaneda_stoikov_infinite": QUOTED | {"window_samples": 1200},
    "do_nothing": {},
    "fixed_spread": QUOTED
    | {"bid_spread_bps": 0.5, "ask_spread_bps": 0.5, "order_levels": 3, "level_spacing_bps": 0.3},
    "glft": QUOTED | {"window_samples": 1200},
    "grid": QUOTED | {"spacing_ticks": 40, "recentre_lines": 12},
    "imbalance": QUOTED | {"weight_half_spreads": 10, "half_spread_ticks": 10, "skew_ticks_per_lot": 0.5},
    "inventory_skew": QUOTED | {"half_spread_ticks": 3},
    "microprice": QUOTED | {"half_spread_ticks": 10, "skew_ticks_per_lot": 0.5, "interval_ns": 10_000_000},
}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory, sample_data: Path) -> Any:
    lake = Lake(tmp_path_factory.mktemp("golden") / "lake")
    path = sample_data / "binance_collector" / "usdm" / "btcusdt_20240808.gz"
    repaired = ImportOptions(repairs=Repairs(offset_negative_latency=True))
    return lake, import_files([path], lake, PAIR, repaired).days


def test_every_shipped_strategy_has_a_golden_run() -> None:
    assert set(PARAMETERS) == {kind for kind in SHIPPED if find_strategy(kind).instruments == 1}
    assert RENEW or set(json.loads(TABLE.read_text("utf-8"))) == {
        kind for kind in SHIPPED if find_strategy(kind).instruments == 1
    }


@pytest.mark.parametrize("kind", sorted(PARAMETERS))
def test_a_run_gives_the_figures_that_were_kept(market: Any, kind: str) -> None:
    lake, days = market
    config = RunConfig(PAIR, kind, days[0].first_ts, days[-1].last_ts, PARAMETERS[kind], 10_000_000, 10_000_000)
    result = backtest(config, lake)
    found = {"orders": result.summary.orders, "fills": result.summary.fills, "net_pnl": f"{result.summary.net_pnl:f}"}
    if result.fills.height:
        assert int(result.fills["position_lots"].abs().max()) <= LIMIT
        assert result.summary.taker_fills == 0
    if RENEW:
        table = json.loads(TABLE.read_text("utf-8")) if TABLE.exists() else {}
        table[kind] = found
        TABLE.write_text(json.dumps(dict(sorted(table.items())), indent=2) + "\n", "utf-8")
    assert found == json.loads(TABLE.read_text("utf-8"))[kind]
