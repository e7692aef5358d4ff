"""What BacktestService refuses before anything is stored, and how it writes a run down."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from market_maker.backtest.service import BacktestService, RunRequest, run_data
from market_maker.domain.clock import SimulatedClock
from market_maker.domain.errors import InvalidRequest, NotFound
from market_maker.domain.instrument import Instrument
from market_maker.settings import BacktestSettings
from market_maker.storage.reference import Pair, Strategy

PAIR = Instrument(UUID(int=1), "v", "A-B", "A", "B", Decimal(1), Decimal(1))
STRATEGY = Strategy(UUID(int=2), "s", "inventory_skew", {"half_spread_ticks": 3}, PAIR.pair_id, 0)
BROKEN = Strategy(UUID(int=3), "s", "inventory_skew", {"half_spread": 3}, PAIR.pair_id, 0)
UNKNOWN_KIND = Strategy(UUID(int=4), "s", "os.system", {}, PAIR.pair_id, 0)


class Reference:
    """Reference data of one pair and three strategies."""

    async def strategy(self, strategy_id: UUID) -> Strategy:
        for strategy in (STRATEGY, BROKEN, UNKNOWN_KIND):
            if strategy.strategy_id == strategy_id:
                return strategy
        raise NotFound.of("strategy", "strategy_id", str(strategy_id))

    async def refresh_pairs(self) -> None:
        """Nobody changes the pair."""

    async def pair(self, pair_id: UUID) -> Pair:
        if pair_id != PAIR.pair_id:
            raise NotFound.of("pair", "pair_id", str(pair_id))
        return Pair(PAIR, None, 0)


class NoDatabase:
    """Fails the test that reaches the database."""

    def transaction(self) -> Any:
        pytest.fail("a request that must be refused was stored")

    async def fetch_one(self, *_: Any) -> None:
        return None


@pytest.fixture
def service() -> BacktestService:
    return BacktestService(NoDatabase(), Reference(), None, SimulatedClock(5), BacktestSettings())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"strategy_id": UUID(int=9)}, NotFound, "strategy_id"),
        ({"pair_id": UUID(int=9)}, NotFound, "pair_id"),
        ({"strategy_id": BROKEN.strategy_id}, InvalidRequest, "half_spread"),
        ({"strategy_id": UNKNOWN_KIND.strategy_id}, InvalidRequest, "kind.*inventory_skew"),
        ({"end_ts": 10}, InvalidRequest, "end_date: 1970-01-01T.*after start_date"),
        ({"end_ts": 9}, InvalidRequest, "end_date"),
        ({"market_conditions": {"trend": "LEFT"}}, InvalidRequest, "market_conditions.trend.*UP, DOWN, SIDEWAYS"),
        ({"market_conditions": {"volatility": -1}}, InvalidRequest, "conditions.volatility.*above 0, at most 10"),
        ({"market_conditions": {"volume_profile": 1}}, InvalidRequest, "market_conditions.volume_profile.*U_SHAPED"),
        ({"market_conditions": {"liquidity": 1}}, InvalidRequest, "liquidity.*volatility, trend, volume_profile"),
        ({"fill_model": "LUCKY"}, InvalidRequest, "fill_model.*PARTIAL, NO_PARTIAL"),
        ({"balance": Decimal(0)}, InvalidRequest, "balance"),
        ({"balance": Decimal(-1)}, InvalidRequest, "balance"),
        ({"balance": Decimal(10) ** 15}, InvalidRequest, "balance"),
        ({"balance": Decimal("NaN")}, InvalidRequest, "balance"),
        ({"entry_latency_ns": 60 * 10**9 + 1}, InvalidRequest, "entry_latency.*0.* to 1m"),
        ({"entry_latency_ns": -1}, InvalidRequest, "entry_latency"),
        ({"response_latency_ns": -1}, InvalidRequest, "response_latency"),
    ],
)
async def test_what_cannot_be_run_is_refused_before_it_is_stored(
    service: BacktestService, changes: dict[str, Any], error: type[Exception], text: str
) -> None:
    wish: dict[str, Any] = {"strategy_id": STRATEGY.strategy_id, "start_ts": 10, "end_ts": 20}
    with pytest.raises(error, match=text):
        await service.run_backtest(RunRequest(**{**wish, **changes}))


async def test_what_is_not_there_is_not_found(service: BacktestService) -> None:
    with pytest.raises(NotFound, match="run_id"):
        await service.get_run(UUID(int=7))
    with pytest.raises(NotFound, match="run_id"):
        await service.get_result(UUID(int=7))
    with pytest.raises(NotFound, match="strategy_id"):
        await service.get_backtest_results(UUID(int=7))
    with pytest.raises(InvalidRequest, match="run_ids"):
        await service.analyze_backtest_results([])


def test_left_out_wishes_are_the_settings(service: BacktestService) -> None:
    plain = service.configuration(RunRequest(STRATEGY.strategy_id, 10, 20))
    # One execution_delay of 100 ms each way, 100000 USDT, samples every second.
    assert (plain["entry_latency_ns"], plain["response_latency_ns"]) == (100_000_000, 100_000_000)
    assert (plain["balance"], plain["sample_interval_ns"], plain["fill_model"]) == ("100000", 10**9, "PARTIAL")
    one_way = service.configuration(RunRequest(STRATEGY.strategy_id, 10, 20, entry_latency_ns=7))
    assert (one_way["entry_latency_ns"], one_way["response_latency_ns"]) == (7, 7)
    free = service.configuration(RunRequest(STRATEGY.strategy_id, 10, 20, entry_latency_ns=7, response_latency_ns=0))
    assert (free["entry_latency_ns"], free["response_latency_ns"]) == (7, 0)


def test_conditions_are_written_down_when_there_are_some(service: BacktestService) -> None:
    for nothing in (None, {}, {"volatility": None, "trend": None, "volume_profile": None}):
        plain = service.configuration(RunRequest(STRATEGY.strategy_id, 10, 20, market_conditions=nothing))
        assert "market_conditions" not in plain
    wish = {"volatility": 0.02, "trend": "SIDEWAYS"}
    configuration = service.configuration(RunRequest(STRATEGY.strategy_id, 10, 20, market_conditions=wish))
    assert configuration["market_conditions"] == {"volatility": 0.02, "trend": "SIDEWAYS", "volume_profile": None}


def test_a_run_tells_times_as_text_and_durations_with_their_unit(service: BacktestService) -> None:
    row = {
        "run_id": UUID(int=1), "strategy_id": UUID(int=2), "pair_id": UUID(int=3), "status": "RUNNING",
        "configuration": service.configuration(RunRequest(STRATEGY.strategy_id, 10, 20)), "progress": 0.12345,
        "events_per_second": 1e6, "eta_seconds": 2.0, "error": None, "attempts": 1, "cancel_requested": False,
        "created_ts": 1_700_000_000_000_000_001, "started_ts": 2, "finished_ts": None, "version": 3,
    }  # fmt: skip
    told = run_data(row)
    assert (told["created_ts"], told["finished_ts"], told["progress_percent"]) == ("1700000000000000001", None, 12.3)
    assert told["configuration"]["entry_latency"] == "100ms"
    assert told["configuration"]["sample_interval"] == "1s"
    assert row["configuration"]["entry_latency_ns"] == 100_000_000, "the row itself is left as it is"
