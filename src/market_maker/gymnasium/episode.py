"""One episode of an agent that makes a market: what it sees, what its quotes earn. Knows nothing of gymnasium's classes.

The market, the engine, latencies, funds and fees are those of `montecarlo`: an episode is a headless run whose strategy quotes
where the agent says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from market_maker.backtest.engine import RunConfig
from market_maker.domain.errors import InvalidRequest, shorten
from market_maker.domain.instrument import Instrument
from market_maker.domain.units import NS_PER_SECOND
from market_maker.gymnasium.quotes import ASK_DISTANCE, BID_DISTANCE, KIND, NO_QUOTE, address
from market_maker.montecarlo.engine import Simulation, SimulationConfig
from market_maker.montecarlo.stress import ScenarioWish
from market_maker.synthetic.flow.parameters import Conditions, ReferenceParameters, suited_design

START_TS = 1_704_067_200 * NS_PER_SECOND
OBSERVED = (
    "inventory", "time_left", "spread", "imbalance", "last_move", "move", "bid_quote", "ask_quote",
)  # fmt: skip
"""What an agent sees, in this order; see `Episode.observe`."""
OBSERVED_MAX = 10.0
_DEFAULT_PAIR = Instrument(
    UUID(int=0), "synthetic", "BASE-QUOTE", "BASE", "QUOTE", Decimal("0.01"), Decimal("0.00001")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EpisodeConfig:
    """What all episodes have in common.

    Parameters
    ----------
    instrument, price : what is traded, and the price at which it begins
    price_deviation : of the reference price in a second, relative
    duration_ns, step_ns : of an episode, and of one step: how long the agent's quotes stand before it is asked again
    order_lots, max_inventory_lots : quantity of each quote, and the bound of the position, open orders counted
    reach_steps : an action of 1 is a quote so many steps of the market's prices from the mid
    latency_ns : one way, there and back
    balance : at the start, in quote currency
    inventory_penalty : taken from the reward at each step, times the square of the share of the inventory
    conditions, scenarios : of the market, see `synthetic`

    Raises
    ------
    InvalidRequest
        A step that is not positive or longer than the episode, a reach that is not positive, a penalty that is negative or no
        number, or what `RunConfig` refuses.
    """

    instrument: Instrument = _DEFAULT_PAIR
    price: Decimal = Decimal(50_000)
    price_deviation: float = 0.0001
    duration_ns: int = 600 * NS_PER_SECOND
    step_ns: int = NS_PER_SECOND
    order_lots: int = 1_000
    max_inventory_lots: int = 10_000
    reach_steps: int = 10
    latency_ns: int = 1_000_000
    balance: Decimal = Decimal(1_000_000)
    inventory_penalty: float = 0.0
    conditions: Conditions = field(default_factory=Conditions)
    scenarios: tuple[ScenarioWish, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.step_ns <= self.duration_ns:
            raise InvalidRequest.of("step_ns", self.step_ns, f"1 to the duration {self.duration_ns}")
        if self.reach_steps < 1:
            raise InvalidRequest.of("reach_steps", self.reach_steps, "1 or more")
        if not 0.0 <= self.inventory_penalty < math.inf:
            raise InvalidRequest.of("inventory_penalty", self.inventory_penalty, "a finite number from 0 on")

    @property
    def steps(self) -> int:
        """Steps of an episode."""
        return self.duration_ns // self.step_ns


class Episode:
    """One episode under way.

    Parameters
    ----------
    config : of all episodes
    seed : of its market; the same seed and actions give the same episode

    Examples
    --------
    >>> episode = Episode(EpisodeConfig(duration_ns=10_000_000_000), seed=1)
    >>> while not episode.is_over:
    ...     reward = episode.step((0.2, 0.2))
    >>> episode.step_number
    10
    """

    def __init__(self, config: EpisodeConfig, seed: int) -> None:
        self.config = config
        reference = ReferenceParameters(price_deviation=config.price_deviation)
        instrument = config.instrument
        design = suited_design(
            price_ticks=instrument.price_to_ticks(config.price), lot_value_ticks=float(instrument.tick_lot),
            reference=reference, start_ts=START_TS,
        )  # fmt: skip
        self._reach_ticks = float(config.reach_steps * design.flow.step_ticks)
        self._reward_unit = 2.0 * config.order_lots * self._reach_ticks
        strategy = KIND.prepare(
            {
                "order_lots": config.order_lots,
                "max_inventory_lots": config.max_inventory_lots,
                "interval_ns": config.step_ns,
            }
        )
        # No sample but the first: the agent looks for itself.
        end_ts = START_TS + config.duration_ns + 1
        run = RunConfig(
            instrument, KIND.kind, START_TS, end_ts, strategy.values, entry_latency_ns=config.latency_ns,
            response_latency_ns=config.latency_ns, balance=config.balance, sample_interval_ns=config.duration_ns + 1,
        )  # fmt: skip
        whole = SimulationConfig(run, design, config.conditions, scenarios=config.scenarios)
        self._simulation = Simulation(whole, strategy, seed, function=address())
        self._params = self._simulation.params
        self.step_number = 0
        self._first_mid = self._last_mid = self._mid = 0
        self._run_until(START_TS + config.step_ns - 1)
        self._first_mid = self._last_mid = self._mid
        self._worth = self._net_worth()
        self._seen = np.zeros(len(OBSERVED), np.float32)

    @property
    def is_over(self) -> bool:
        """Whether its time has passed."""
        return self.step_number >= self.config.steps

    def step(self, action: NDArray[np.floating] | tuple[float, float]) -> float:
        """Quote as the agent says for one step, and return the reward.

        Parameters
        ----------
        action : distances of bid and ask from the mid, each from 0 (at the mid) to below 1 (the reach); 1: no quote

        Returns
        -------
        float
            the change of the net worth, where 1 is a fill of `order_lots` a whole reach from the mid, less the penalty

        Raises
        ------
        InvalidRequest
            An action that is not two finite numbers, as of an agent that has diverged, or a step after the end.
        """
        if self.is_over:
            raise InvalidRequest.of("step", "after the end of the episode", "reset first")
        for place, value in zip((BID_DISTANCE, ASK_DISTANCE), _quotes_of(action), strict=True):
            self._params[place] = NO_QUOTE if value >= 1.0 else max(0.0, value) * self._reach_ticks
        self.step_number += 1
        self._last_mid = self._mid
        self._run_until(START_TS + (self.step_number + 1) * self.config.step_ns - 1)
        worth = self._net_worth()
        reward = (worth - self._worth) / self._reward_unit
        self._worth = worth
        share = self.inventory_lots / self.config.max_inventory_lots
        return reward - self.config.inventory_penalty * share * share

    def _run_until(self, ts: int) -> None:
        self._simulation.run_until(ts)
        self._mid = self._simulation.drive.mid_half_ticks()

    @property
    def inventory_lots(self) -> int:
        """The position, in lots."""
        return int(self._simulation.drive.head()["position_lots"])

    @property
    def net_pnl(self) -> float:
        """The result since the start, fees paid, in quote currency."""
        return self._worth / 2.0 * float(self.config.instrument.tick_lot)

    def _net_worth(self) -> int:
        """Return cash less fees and the position at the mid, in half tick-lots."""
        head = self._simulation.drive.head()
        cash = int(head["cash_tick_lots"]) - int(head["fees_tick_lots"])
        return 2 * cash + int(head["position_lots"]) * self._mid

    def observe(self) -> NDArray[np.float32]:
        """Return what the agent sees, (8,) float32 within +-10; prices in reaches.

        inventory and time left as shares, the spread, the imbalance of five levels from -1 (all asks) to 1, the mid's last
        move and that since the start, and the distances of the own best quotes from the mid (0: none).
        """
        view, config, reach = self._simulation.look(), self.config, self._reach_ticks
        bids, asks = int(view.bids["qty_lots"].sum()), int(view.asks["qty_lots"].sum())
        best = {1: 0.0, -1: 0.0}
        for order in view.orders:
            side = int(order["side"])
            distance = (0.5 * self._mid - int(order["price_ticks"])) * side
            best[side] = distance if not best[side] else min(best[side], distance)
        seen = self._seen
        seen[0] = view.position_lots / config.max_inventory_lots
        seen[1] = 1.0 - self.step_number / config.steps
        seen[2] = (
            (view.best_ask_ticks - view.best_bid_ticks) / reach if view.best_ask_ticks and view.best_bid_ticks else 0.0
        )
        seen[3] = (bids - asks) / (bids + asks) if bids + asks else 0.0
        seen[4] = (self._mid - self._last_mid) / 2.0 / reach
        seen[5] = (self._mid - self._first_mid) / 2.0 / reach
        seen[6], seen[7] = best[1] / reach, best[-1] / reach
        return np.clip(seen, -OBSERVED_MAX, OBSERVED_MAX)


def _quotes_of(action: NDArray[np.floating] | tuple[float, float]) -> tuple[float, float]:
    """Return the distances of bid and ask, each a finite number."""
    try:
        bid, ask = (float(value) for value in action)
    except (TypeError, ValueError):
        bid = ask = math.nan
    if not (math.isfinite(bid) and math.isfinite(ask)):
        raise InvalidRequest.of(
            "action", shorten(action), "two finite numbers: the distances of bid and ask, 1 for none"
        )
    return bid, ask
