"""Ten methods by REST on a history that is known, and histories that no figure can be made of: a reason, never a NaN."""

# ruff: noqa: F401, F811  (fixtures are imported and then asked for by name)

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest

from e2e.risk_service import account, client, service
from e2e.service_process import ServiceProcess
from market_maker.client import Client
from market_maker.domain.errors import DataError, InvalidRequest, NotFound
from market_maker.domain.instrument import Instrument
from market_maker.domain.position import PositionState
from market_maker.risk.assessment import assess_position
from market_maker.risk.history import price_history
from market_maker.risk.models import Model

SECONDS = 1500
HORIZON = "30s"


@pytest.fixture
def recorded(client: Client, service: ServiceProcess, account: UUID) -> Callable[..., Any]:
    """A function that adds a pair without a market, with these mids by the second, and a position of 3 in it."""

    def make(mids: Any) -> Any:
        name = f"R{time.time_ns()}"
        pair = client.add_pair(f"{name}-USDT", name, "USDT", tick_size="0.01", lot_size="0.001")
        end_s = int(time.time()) - 5
        rows = [(pair.pair_id, (end_s - len(mids) + i) * 10**9, int(mid)) for i, mid in enumerate(mids)]
        with psycopg.connect(service.dsn) as connection:
            connection.cursor().executemany("INSERT INTO simulated_prices VALUES (%s, %s, %s)", rows)
        position = client.open_position(pair.pair_id, quantity="3", average_price="1000", account_id=account)
        return position, [row[1] for row in rows], [row[2] for row in rows]

    return make


def returns_of(law: str) -> np.ndarray:
    chance = np.random.default_rng(11)
    if law == "t":
        return 0.0005 * chance.standard_t(4, SECONDS)
    return 0.0005 * chance.standard_normal(SECONDS)


def mids_of(returns: np.ndarray) -> np.ndarray:
    """Mids in half ticks of 0.005 from 1,000 on."""
    return np.round(200_000 * np.cumprod(1.0 + returns))


@pytest.mark.parametrize("law", ["normal", "t"])
def test_every_method_gives_by_rest_what_the_library_gives(
    recorded: Callable[..., Any], client: Client, law: str
) -> None:
    position, ts, mids = recorded(mids_of(returns_of(law)))
    instrument = Instrument(position.pair_id, "simulator", "R", "R", "USDT", Decimal("0.01"), Decimal("0.001"))
    state = PositionState(position.position_id, position.pair_id, UUID(int=1), None, 3000)
    history = price_history(ts, mids, interval_ns=10**9, window_end_ts=ts[-1] + 10**9)
    figures: dict[str, tuple[float, float]] = {}
    for method in Model:
        asked: dict[str, Any] = {"method": method.value, "time_horizon": HORIZON, "confidence_level": "0.975"}
        wanted = assess_position(
            state,
            instrument,
            history,
            confidence_level=Decimal("0.975"),
            horizon_ns=30 * 10**9,
            as_of_ts=0,
            method=method,
        )
        found = client.assess_risk(position.position_id, **asked)
        both = client.assess_risk(position.position_id, risk_model="ExpectedShortfall", **asked)
        assert (found.method, found.convention) == (method.value, wanted.convention)
        assert (found.value_at_risk, found.expected_shortfall) == (wanted.value_at_risk, wanted.expected_shortfall)
        assert (found.value, both.value) == (found.value_at_risk, found.expected_shortfall)
        assert 0 < found.value_at_risk < found.expected_shortfall
        assert found.observations == wanted.observations
        assert found.parameters == pytest.approx(wanted.parameters)
        figures[method.value] = float(found.value_at_risk), float(found.expected_shortfall)
    # 3 x 1,000 x 0.0005 x sqrt(30) x 1.96 = 16.1 of the normal law; t4 has sqrt(2) times its deviation.
    size = 16.1 * (2**0.5 if law == "t" else 1.0)
    assert all(0.5 * size < var < 2.0 * size for var, _ in figures.values()), figures
    if law == "t":
        tail = {name: es / var for name, (var, es) in figures.items()}
        assert tail["STUDENT_T"] > tail["NORMAL"]
    stored = client.get_risk_metrics(position.position_id, limit=20).items
    assert [each.method for each in stored[::-1][::2]] == [each.value for each in Model]


def test_cornish_fisher_is_refused_where_it_is_no_quantile(recorded: Callable[..., Any], client: Client) -> None:
    returns = returns_of("normal")
    returns[::100] = -0.02
    position, _, _ = recorded(mids_of(returns))
    with pytest.raises(DataError, match=r"Cornish|monotone|increasing"):
        client.assess_risk(position.position_id, method="CORNISH_FISHER", time_horizon="1s", confidence_level="0.999")
    assert client.assess_risk(position.position_id, method="HISTORICAL", time_horizon="1s").value_at_risk > 0


@pytest.mark.parametrize("method", [each.value for each in Model])
@pytest.mark.parametrize(
    ("mids", "text"),
    [
        ([200_000] * 400, "are 0"),
        ([200_000], "at least"),
        ([200_000, 200_010], "at least"),
        (range(200_000, 200_015), "at least"),
    ],
    ids=["constant", "one", "two", "fifteen"],
)
def test_what_no_figure_can_be_made_of_is_a_reason(
    recorded: Callable[..., Any], client: Client, mids: Any, text: str, method: Any
) -> None:
    position, _, _ = recorded(list(mids))
    with pytest.raises(DataError, match=text):
        client.assess_risk(position.position_id, method=method, time_horizon="1s")
    assert client.get_risk_metrics(position.position_id).items == []


def test_many_prices_are_borne(recorded: Callable[..., Any], client: Client) -> None:
    chance = np.random.default_rng(5)
    walk = 200_000 + np.cumsum(chance.integers(-9, 10, 200_000))
    position, _, _ = recorded(np.maximum(walk, 1000))
    found = client.assess_risk(position.position_id, time_horizon="1m")
    assert found.observations > 3000, "2.3 days by the minute"
    assert found.value_at_risk > 0


@pytest.mark.parametrize(
    ("wrong", "error", "field"),
    [
        ({"confidence_level": "0"}, InvalidRequest, "confidence_level"),
        ({"confidence_level": "1"}, InvalidRequest, "confidence_level"),
        ({"confidence_level": "NaN"}, InvalidRequest, "confidence_level"),
        ({"confidence_level": "-0.5"}, InvalidRequest, "confidence_level"),
        ({"time_horizon": "0s"}, InvalidRequest, "time_horizon"),
        ({"time_horizon": "1ms"}, DataError, "horizon"),
        ({"time_horizon": "400d"}, InvalidRequest, "time_horizon"),
        ({"position_id": "00000000-0000-7000-8000-0000000000ff"}, NotFound, "position_id"),
    ],
)
def test_wishes_that_make_no_sense_are_named(
    recorded: Callable[..., Any], client: Client, wrong: dict[str, Any], error: Any, field: str
) -> None:
    position, _, _ = recorded(mids_of(returns_of("normal")))
    wish: dict[str, Any] = {"position_id": position.position_id} | wrong
    with pytest.raises(error, match=field):
        client.assess_risk(**wish)
