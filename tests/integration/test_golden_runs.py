"""Every shipped strategy on a real recording: figures that change only when someone means them to.

They stand in golden_runs.json. Renew them, look at the difference, and say why in the changelog:

    MM_TEST_RENEW_GOLDEN=1 pytest tests/integration/test_golden_runs.py
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from market_data_builders import import_files
from market_maker.backtest.engine import RunConfig, backtest, open_market
from market_maker.backtest.several import run_several
from market_maker.domain.instrument import ContractType, Instrument
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
    assert RENEW or set(json.loads(TABLE.read_text("utf-8"))) == set(SHIPPED)


@pytest.mark.parametrize("kind", sorted(PARAMETERS))
def test_a_run_gives_the_figures_that_were_kept(market: Any, kind: str) -> None:
    lake, days = market
    config = RunConfig(PAIR, kind, days[0].first_ts, days[-1].last_ts, PARAMETERS[kind], 10_000_000, 10_000_000)
    result = backtest(config, lake)
    found = {"orders": result.summary.orders, "fills": result.summary.fills, "net_pnl": f"{result.summary.net_pnl:f}"}
    if result.fills.height:
        assert int(result.fills["position_lots"].abs().max()) <= LIMIT
        assert result.summary.taker_fills == 0
    check(kind, found)


def check(kind: str, found: dict[str, Any]) -> None:
    """Compare figures with those that were kept, or keep them."""
    if RENEW:
        table = json.loads(TABLE.read_text("utf-8")) if TABLE.exists() else {}
        table[kind] = found
        TABLE.write_text(json.dumps(dict(sorted(table.items())), indent=2) + "\n", "utf-8")
    assert found == json.loads(TABLE.read_text("utf-8"))[kind]


def test_quotes_on_spot_are_hedged_on_futures(market: Any, sample_data: Path) -> None:
    lake, days = market
    spot = replace(
        PAIR, pair_id=UUID(int=2), venue="binance-spot", tick_size=Decimal("0.01"), lot_size=Decimal("0.000001"),
        maker_fee=Decimal(0), contract_type=ContractType.SPOT,
    )  # fmt: skip
    file = sample_data / "binance_collector" / "spot" / "btcusdt_20240808.gz"
    import_files([file], lake, spot, ImportOptions(repairs=Repairs(offset_negative_latency=True)))
    start, end = days[0].first_ts, days[-1].last_ts
    # A spot tick is a tenth of a futures tick, a spot lot a thousandth of a futures lot.
    values = {
        "order_lots": 5000, "max_inventory_lots": 1000 * LIMIT, "half_spread_ticks": 400, "price_ratio": 10,
        "hedge_ratio": 0.001, "hedge_band_lots": 4,
    }  # fmt: skip
    configs = [
        RunConfig(pair, "hedged_quotes", start, end, values, 10_000_000, 10_000_000, Decimal(100_000), allow_gaps=True)
        for pair in (spot, PAIR)
    ]
    feeds = [open_market(config, lake)[1] for config in configs]
    result = run_several(configs, feeds, find_strategy("hedged_quotes").prepare(values))
    quoted, hedge = result.legs
    assert quoted.fills.height > 5
    assert hedge.summary.taker_fills == hedge.summary.fills
    assert int(quoted.fills["position_lots"].abs().max()) <= 1000 * LIMIT
    # What is left unhedged after the way to the venue is within the band and one order.
    both = quoted.samples.join(hedge.samples, on="ts", suffix="_hedge")
    unhedged = (both["position_lots"] + 1000 * both["position_lots_hedge"]).abs()
    assert (unhedged.quantile(0.9) or 0) <= 4000 + 5000
    check(
        "hedged_quotes",
        {
            "orders": [leg.summary.orders for leg in result.legs], "fills": [leg.summary.fills for leg in result.legs],
            "net_pnl": f"{result.net_pnl:f}",
        },
    )  # fmt: skip
