"""What the schedule and the end of a change bring up to date: every position that may be alarming, whatever else there is."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from market_maker.bootstrap import Runtime, running
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.ids import DEFAULT_PAIR_ID
from market_maker.domain.modes import RiskModel
from market_maker.domain.units import NS_PER_SECOND
from market_maker.risk.measures import Scope
from market_maker.settings import RiskSettings, Settings

NO_SCHEDULE = RiskSettings(assessment_interval=0)


@pytest.fixture
async def settings(database_dsn: str, tmp_path: Path) -> Settings:
    """A market with two minutes of prices, whose session has been stopped."""
    made = Settings(database_url=database_dsn, data_dir=tmp_path, risk=NO_SCHEDULE)
    async with running(made) as runtime:
        (session,) = await runtime.service.parts.simulator.get_sessions()
        await runtime.service.parts.simulator.set_session_state(UUID(session["session_id"]), "STOPPED")
    start = time.time_ns() // NS_PER_SECOND - 200
    with psycopg.connect(database_dsn, autocommit=True) as connection:
        connection.execute("DELETE FROM simulated_prices")
        connection.cursor().executemany(
            "INSERT INTO simulated_prices VALUES (%s, %s, %s)",
            [(DEFAULT_PAIR_ID, (start + each) * NS_PER_SECOND, 10_000_000 + each % 7) for each in range(120)],
        )
    return made


async def a_position(runtime: Runtime, quantity: str = "1") -> UUID:
    held = await runtime.service.open_position(None, None, DEFAULT_PAIR_ID, Decimal(quantity), Decimal(50_000))
    return held.position_id


async def alerts(runtime: Runtime) -> list[tuple[str, str]]:
    found = await runtime.service.parts.risk.control.get_alerts()
    return [(each["severity"], each["state"]) for each in found]


async def until(what: Any, wanted: Any, runtime: Runtime) -> None:
    async with asyncio.timeout(10):
        while await what(runtime) != wanted:  # noqa: ASYNC110  (it is the background that changes it)
            await asyncio.sleep(0.05)


async def test_a_transfer_where_no_market_runs_is_looked_at_too(settings: Settings) -> None:
    """A position that was brought to zero by hand kept its alert until somebody assessed it: the schedule passes flat ones over."""
    async with running(settings) as runtime:
        held = await a_position(runtime)
        risk = runtime.service.parts.risk
        await risk.add_limit("MAX_POSITION", "ALL", None, Decimal("0.5"), Decimal("0.8"))
        await runtime.service.change_position(held, Decimal(2), Decimal(50_000))
        await until(alerts, [("CRITICAL", "RAISED")], runtime)
        await runtime.service.change_position(held, Decimal(0), Decimal(50_000))
        await until(alerts, [("CRITICAL", "CLEARED")], runtime)


async def test_the_schedule_looks_at_flat_positions_with_an_open_alert(settings: Settings) -> None:
    """A service that died between the last fill and its assessment left the alert open for ever."""
    async with running(settings) as runtime:
        held = await a_position(runtime)
        risk = runtime.service.parts.risk
        await risk.add_limit("MAX_POSITION", "ALL", None, Decimal("0.5"), Decimal("0.8"))
        await risk.calculate_risk_metrics(held, scope=Scope.BOOK)
        assert await alerts(runtime) == [("CRITICAL", "RAISED")]
    with psycopg.connect(str(settings.database_url), autocommit=True) as connection:
        connection.execute("UPDATE positions SET qty_lots = 0, cost_tick_lots = 0")
    async with running(settings) as runtime:
        await runtime.service.parts.risk.reassess_all()
        assert await alerts(runtime) == [("CRITICAL", "CLEARED")]


async def test_more_than_a_thousand_positions_hide_none_that_is_held(settings: Settings) -> None:
    """The schedule took the newest thousand, flat ones and those of backtests among them, and was silent about the rest."""
    async with running(settings) as runtime:
        held = await a_position(runtime)
    fill = """
        WITH owners AS (
            INSERT INTO strategies SELECT gen_random_uuid(), 'of old ' || n, 'fixed_spread', '{}', %(pair)s, 1
            FROM generate_series(1, 1200) n RETURNING strategy_id
        )
        INSERT INTO positions
        SELECT overlay(gen_random_uuid()::text PLACING 'ffffffff' FROM 1)::uuid, %(pair)s, %(account)s, strategy_id,
               7, 35000000, 0, 0, 0, 0, 1, 1 FROM owners
    """
    backtests = "00000000-0000-7000-8000-000000000003"
    with psycopg.connect(str(settings.database_url), autocommit=True) as connection:
        connection.execute(fill, {"pair": DEFAULT_PAIR_ID, "account": backtests})
    async with running(settings) as runtime:
        risk = runtime.service.parts.risk
        limit = await risk.add_limit("MAX_NOTIONAL", "ALL", None, Decimal(40_000), Decimal("0.8"))
        await risk.reassess_all()
        assert len(await risk.get_risk_metrics(held)) == 2, "alone, and for the limit on the whole book"
        (seen,) = await risk.control.get_limits(UUID(limit["limit_id"]))
        assert (seen["state"], Decimal(seen["value"]) > 40_000) == ("BREACHED", True)


async def test_figures_are_kept_up_to_date_when_value_at_risk_is_switched_off(settings: Settings) -> None:
    """The schedule asked for VaR, was refused, and left every limit unevaluated."""
    only = settings.model_copy(
        update={"risk": RiskSettings(assessment_interval=0, risk_models=(RiskModel.EXPECTED_SHORTFALL,))}
    )
    async with running(only) as runtime:
        held = await a_position(runtime)
        risk = runtime.service.parts.risk
        limit = await risk.add_limit("MAX_ES", "POSITION", held, Decimal("0.01"), Decimal("0.8"))
        await risk.reassess_all()
        (seen,) = await risk.control.get_limits(UUID(limit["limit_id"]))
        assert seen["state"] == "BREACHED"
        (saved,) = await risk.get_risk_metrics(held, limit=1)
        assert saved["risk_model"] == "ExpectedShortfall"
        with pytest.raises(InvalidRequest, match="VaR is not allowed; allowed: ExpectedShortfall"):
            await risk.calculate_risk_metrics(held, risk_model=RiskModel.VAR)


async def test_assessments_at_once_raise_one_alert(settings: Settings) -> None:
    """One that had waited for the limit's row saw the alerts of before it waited: schedule and request raised one each."""
    async with running(settings) as runtime:
        held = await a_position(runtime)
        risk = runtime.service.parts.risk
        await risk.add_limit("MAX_POSITION", "POSITION", held, Decimal("0.5"), Decimal("0.8"))
        await asyncio.gather(*(risk.calculate_risk_metrics(held) for _ in range(6)))
        assert await alerts(runtime) == [("CRITICAL", "RAISED")]


async def test_a_limit_tells_why_it_is_not_evaluated(settings: Settings) -> None:
    """One position without a history among all silenced every limit on the book, and only a line of the log told it."""
    with psycopg.connect(str(settings.database_url), autocommit=True) as connection:
        kept = connection.execute("DELETE FROM simulated_prices RETURNING pair_id, ts, mid_half_ticks").fetchall()
    async with running(settings) as runtime:
        await a_position(runtime)
        risk = runtime.service.parts.risk
        for kind in ("MAX_NOTIONAL", "MAX_ORDER_SIZE"):
            await risk.add_limit(kind, "ALL", None, Decimal(10), Decimal("0.8"))
        await risk.reassess_all()
        notional, size = await risk.control.get_limits()
        assert "no price history" in notional["not_evaluated"]
        assert (notional["evaluated_ts"], size["not_evaluated"]) == (None, None)
        with psycopg.connect(str(settings.database_url), autocommit=True) as connection:
            connection.cursor().executemany("INSERT INTO simulated_prices VALUES (%s, %s, %s)", kept)
        await risk.reassess_all()
        notional, _ = await risk.control.get_limits()
        assert (notional["state"], notional["not_evaluated"]) == ("BREACHED", None)
