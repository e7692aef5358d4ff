"""How orders of a run travel, wait, meet and pay: what a caller may choose beyond fill model and plain latencies.

Owns the one object `execution` of requests and files: its names, its checks and what the kernel's models are made from.
The models themselves are in `queue_models`, `latency_models` and `fee_models`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from market_maker.backtest.fee_models import Contract, FeeModel, FeeState, Tier, flat, per_quantity, per_value, tiered
from market_maker.backtest.latency_models import (
    DAY_NS,
    Draw,
    LatencyModel,
    LatencyState,
    constant,
    drawn,
    recorded,
    under_load,
)
from market_maker.backtest.queue_models import QueueModel, parameter_of
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.market_data.replay import Feed

ROWS_MAX = 1_000_000
IMPACT_MAX = 0.5
LEVERAGE_MAX = 1000
_DRAWN = {LatencyModel.NORMAL, LatencyModel.LOG_NORMAL, LatencyModel.GAMMA}
SIZE_MAX = 30
_NAMES = {"entry_latency_ns": "latency.entry_ns", "response_latency_ns": "latency.response_ns"}
_LOAD = ("entry_ns", "response_ns", "window_ns", "quiet_events", "ns_per_event", "most_ns")


@dataclass(frozen=True, slots=True)
class Execution:
    """What is assumed of the venue and the way to it.

    Parameters
    ----------
    queue_model, queue_n : None: FIFO on feeds of orders, RISK_AVERSE on others; n: the exponent of POWER, POWER2, POWER3
    latency : None: the constant latencies of the run; otherwise `model` with its numbers, see `latency_state`
    fees : None: the rates of the pair; otherwise `model` with its rates, see `fee_state`
    leverage : exposure that one unit of settled funds carries
    cash_account : True: sells only what it holds
    execution_probability : chance that the quantity which would fill an order is there for it, at each opportunity
    price_impact, impact_half_life_ns : relative move of all later prices when an order is wholly executed, and the time in
        which half of it is gone again (0: it stays)
    funding : whether the recorded funding instants of a perpetual contract are paid
    """

    queue_model: QueueModel | None = None
    queue_n: float | None = None
    latency: Mapping[str, Any] | None = None
    fees: Mapping[str, Any] | None = None
    leverage: int = 1
    cash_account: bool = False
    execution_probability: float = 1.0
    price_impact: float = 0.0
    impact_half_life_ns: int = 0
    funding: bool = True

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> Execution:
        """Return the options of a request; InvalidRequest names the field, its value and what is allowed."""
        given = _Fields("execution", values or {})
        model = given.word("queue_model", QueueModel.__members__, None)
        made = cls(
            queue_model=None if model is None else QueueModel[model],
            queue_n=given.number("queue_n", None),
            latency=given.mapping("latency"),
            fees=given.mapping("fees"),
            leverage=given.whole("leverage", 1),
            cash_account=given.flag("cash_account", False),
            execution_probability=given.number("execution_probability", 1.0) or 0.0,
            price_impact=given.number("price_impact", 0.0) or 0.0,
            impact_half_life_ns=given.whole("impact_half_life_ns", 0),
            funding=given.flag("funding", True),
        )
        given.end()
        if not 0 <= made.execution_probability <= 1:
            raise InvalidRequest.of("execution.execution_probability", made.execution_probability, "0 to 1")
        if not 0 <= made.price_impact <= IMPACT_MAX:
            raise InvalidRequest.of("execution.price_impact", made.price_impact, f"0 to {IMPACT_MAX}")
        if not 0 <= made.impact_half_life_ns <= DAY_NS:
            raise InvalidRequest.of("execution.impact_half_life_ns", made.impact_half_life_ns, "0 ns to one day")
        if not 1 <= made.leverage <= LEVERAGE_MAX:
            raise InvalidRequest.of("execution.leverage", made.leverage, f"a whole number from 1 to {LEVERAGE_MAX}")
        if made.queue_model is None and made.queue_n is not None:
            raise InvalidRequest.of("execution.queue_n", made.queue_n, "nothing without a queue_model")
        if made.queue_model is not None:
            with _named():
                parameter_of(made.queue_model, made.queue_n, Decimal(1))
        # Made once, so that wrong numbers are told before a run is queued.
        made.latency_state(0, 0, seed=0)
        return made

    def to_json(self) -> dict[str, Any]:
        """Return the options as JSON values, as `of` takes them."""
        values = asdict(self)
        values["queue_model"] = None if self.queue_model is None else self.queue_model.name
        return values

    def latency_state(self, entry_ns: int, response_ns: int, *, seed: int) -> LatencyState:
        """Return the latency model of a run; the constant one of `entry_ns` and `response_ns` when none is given.

        `{"model": "NORMAL" | "LOG_NORMAL" | "GAMMA", "entry": {"mean_ns", "deviation_ns", "floor_ns"}, "response": {...}}`,
        `{"model": "RECORDED", "rows": [[made, at the venue, answered], ...]}`,
        `{"model": "UNDER_LOAD", "entry_ns", "response_ns", "window_ns", "quiet_events", "ns_per_event", "most_ns"}` or
        `{"model": "CONSTANT", "entry_ns", "response_ns"}`.
        """
        if self.latency is None:
            return constant(entry_ns, response_ns)
        with _named():
            return self._latency_state(_Fields("execution.latency", self.latency), entry_ns, response_ns, seed)

    def _latency_state(self, given: _Fields, entry_ns: int, response_ns: int, seed: int) -> LatencyState:
        model = LatencyModel[given.word("model", LatencyModel.__members__, "") or ""]
        if model is LatencyModel.CONSTANT:
            made = constant(given.whole("entry_ns", entry_ns), given.whole("response_ns", response_ns))
        elif model in _DRAWN:
            draws = []
            for name in ("entry", "response"):
                draw = _Fields(f"execution.latency.{name}", given.mapping(name) or {})
                draws.append(Draw(draw.whole("mean_ns"), draw.whole("deviation_ns"), draw.whole("floor_ns", 0)))
                draw.end()
            made = drawn(model, seed=seed, entry=draws[0], response=draws[1])
        elif model is LatencyModel.RECORDED:
            made = recorded(_rows(given.list("rows")))
        else:
            made = under_load(**{name: given.whole(name) for name in _LOAD})
        given.end()
        return made

    def usual_entry_ns(self, entry_ns: int) -> int:
        """Return how long a request usually takes to the venue: `entry_ns` where no model says otherwise.

        The mean of a drawn latency, the median of recorded ones, that of a quiet market under load.
        """
        if self.latency is None:
            return entry_ns
        if "rows" in self.latency:
            taken = [venue - made for made, venue, _ in self.latency["rows"] if venue > 0]
            return int(np.median(taken)) if taken else entry_ns
        if isinstance(drawn_from := self.latency.get("entry"), Mapping):
            return int(drawn_from["mean_ns"])
        return int(self.latency.get("entry_ns", entry_ns))

    def fee_state(self, instrument: Instrument, start_ts: int) -> FeeState:
        """Return the fee model of a run; the pair's rates when none is given.

        `{"model": "PER_VALUE" | "PER_QUANTITY" | "FLAT_PER_FILL" | "FLAT_PER_ORDER", "maker", "taker"}` or
        `{"model": "TIERED", "tiers": [{"least_volume", "maker", "taker"}, ...], "window_days", "at_midnight", "volume_before"}`.
        """
        contract = Contract.of(instrument)
        if self.fees is None:
            return per_value(contract, instrument.maker_fee, instrument.taker_fee)
        # A fee of 0.3 cents a share would be rounded to none at every fill of one share; a unit of an INVERSE contract is tiny.
        contract = replace(contract, carries=contract.carries or contract.inverse_scale == 0)
        with _named():
            return self._fee_state(_Fields("execution.fees", self.fees), contract, instrument, start_ts)

    def _fee_state(self, given: _Fields, contract: Contract, instrument: Instrument, start_ts: int) -> FeeState:
        model = FeeModel[given.word("model", FeeModel.__members__, "") or ""]
        if model is FeeModel.TIERED:
            tiers = []
            for number, row in enumerate(given.list("tiers")):
                name = f"execution.fees.tiers[{number}]"
                if not isinstance(row, Mapping):
                    raise InvalidRequest.of(name, row, "an object with least_volume, maker and taker")
                tier = _Fields(name, row)
                tiers.append(Tier(tier.decimal("least_volume"), tier.decimal("maker"), tier.decimal("taker")))
                tier.end()
            made = tiered(
                contract,
                tiers,
                window_days=given.whole("window_days", 30),
                at_midnight=given.flag("at_midnight", True),
                volume_before=given.decimal("volume_before", Decimal(0)),
                start_ts=start_ts,
            )
        else:
            rates = given.decimal("maker"), given.decimal("taker")
            if model is FeeModel.PER_VALUE:
                made = per_value(contract, *rates)
            elif model is FeeModel.PER_QUANTITY:
                made = per_quantity(contract, instrument.lot_size, *rates)
            else:
                made = flat(contract, *rates, per_order=model is FeeModel.FLAT_PER_ORDER)
        given.end()
        return made


def is_of_orders(feed: Feed) -> bool:
    """Return whether a feed tells single orders, so that places in the queue are known."""
    rows = next(feed.exchange(), None)
    return rows is not None and len(rows.joined_ts) > 0


def queue_model_of(wanted: QueueModel | None, *, of_orders: bool) -> QueueModel:
    """Return the queue model of a run; InvalidRequest when the feed cannot serve it."""
    if wanted is None:
        return QueueModel.FIFO if of_orders else QueueModel.RISK_AVERSE
    if wanted is QueueModel.FIFO and not of_orders:
        allowed = "a model of levels (RISK_AVERSE, POWER, ...): this recording does not tell single orders"
        raise InvalidRequest.of("execution.queue_model", "FIFO", allowed)
    return wanted


@dataclass(slots=True)
class _Fields:
    """The fields of one object, each asked for once by name; what nobody asked for is refused."""

    path: str
    values: Mapping[str, Any]
    asked: list[str] = field(default_factory=list)

    def _take(self, name: str) -> Any:
        self.asked.append(name)
        return self.values.get(name)

    def _checked(self, name: str, fits: Callable[[Any], bool], allowed: str, default: Any) -> Any:
        value = self._take(name)
        if value is None and default is not ...:
            return default
        if value is None or not fits(value):
            raise InvalidRequest.of(f"{self.path}.{name}", value, allowed)
        return value

    def word(self, name: str, words: Mapping[str, Any], default: str | None) -> str | None:
        """Return one of `words`; an empty default: it is needed."""
        allowed = f"one of {', '.join(words)}"
        found: str | None = self._checked(
            name, lambda value: isinstance(value, str) and value in words, allowed, default if default != "" else ...
        )
        return found

    def whole(self, name: str, default: Any = ...) -> int:
        """Return a whole number below 2**62 in size."""
        found: int = self._checked(
            name, lambda v: isinstance(v, int) and not isinstance(v, bool) and abs(v) < 2**62, "a whole number", default
        )
        return found

    def number(self, name: str, default: float | None) -> float | None:
        """Return a finite number."""
        found = self._checked(
            name,
            lambda v: isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= sys.float_info.max,
            "a finite number",
            default,
        )
        return None if found is None else float(found)

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        return bool(self._checked(name, lambda value: isinstance(value, bool), "true or false", default))

    def decimal(self, name: str, default: Any = ...) -> Decimal:
        """Return an amount given as text or as a whole number."""
        value = self._checked(
            name, lambda v: isinstance(v, str | int | Decimal) and not isinstance(v, bool), "an amount as text", default
        )
        try:
            amount = Decimal(value)
        except InvalidOperation:
            raise InvalidRequest.of(f"{self.path}.{name}", value, "an amount as text") from None
        if not amount.is_finite():
            raise InvalidRequest.of(f"{self.path}.{name}", value, "a finite amount")
        # Products with steps and rates are exact then.
        if abs(amount.adjusted()) > SIZE_MAX or len(amount.as_tuple().digits) > SIZE_MAX:
            allowed = f"an amount from 1e-{SIZE_MAX} to 1e{SIZE_MAX} of at most {SIZE_MAX} digits"
            raise InvalidRequest.of(f"{self.path}.{name}", value, allowed)
        return amount

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        """Return an object, None when it is left out."""
        found: Mapping[str, Any] | None = self._checked(name, lambda v: isinstance(v, Mapping), "an object", None)
        return found

    def list(self, name: str) -> Sequence[Any]:
        """Return a list that is not empty."""
        allowed = f"a list of 1 to {ROWS_MAX:,} elements"
        found: Sequence[Any] = self._checked(
            name, lambda v: isinstance(v, list | tuple) and 0 < len(v) <= ROWS_MAX, allowed, ...
        )
        return found

    def end(self) -> None:
        """Refuse what nobody asked for."""
        for name in self.values:
            if name not in self.asked:
                allowed = f"only {', '.join(self.asked)}"
                raise InvalidRequest.of(f"{self.path}.{name}", self.values[name], allowed)


@contextlib.contextmanager
def _named() -> Iterator[None]:
    """Name what a model refuses as the request does."""
    try:
        yield
    except DataError as error:
        allowed = "requests by time, each at the venue after it was made, answered later, within a day"
        raise InvalidRequest.of("execution.latency.rows", str(error), allowed) from None
    except InvalidRequest as error:
        one = next(iter(error.errors), None)
        if one is None or one.field.startswith("execution."):
            raise
        name = _NAMES.get(one.field, one.field)
        raise InvalidRequest.of(f"execution.{name}", one.value, one.allowed) from None


def _rows(rows: Sequence[Any]) -> Any:
    for number, row in enumerate(rows):
        is_row = isinstance(row, list | tuple) and len(row) == 3
        if not is_row or not all(isinstance(ts, int) and not isinstance(ts, bool) and abs(ts) < 2**62 for ts in row):
            allowed = "three whole numbers of nanoseconds: made, at the venue (0: rejected), answered"
            raise InvalidRequest.of(f"execution.latency.rows[{number}]", row, allowed)
    return np.array(rows, np.int64)
