"""What a fill costs: the models, their checks and their memory. Rates are Decimal here and integers in `kernel`.

Owns schedules of fees and the way from a price to a value for linear, inverse and spot contracts. Cash is in whole
units: tick-lots for LINEAR and SPOT (quote currency); for INVERSE units of the base currency, see `Contract`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from enum import IntEnum
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import EXACT, MAX_TICK_LOTS, RATE_SCALE, Instrument

RATE_MAX = 2**40
"""Largest rate as an integer of 1e-8: eleven thousand times the value."""
FLAT_MAX = 2**60
_RATE_UNIT = Decimal(1).scaleb(-8)
WINDOW_DAYS_MAX = 366


class FeeModel(IntEnum):
    """What a fee is proportional to.

    PER_VALUE: rate x value of the fill. PER_QUANTITY: an amount per unit of quantity (contract, share, coin).
    FLAT_PER_FILL, FLAT_PER_ORDER: an amount for every fill, or with the first fill of an order. TIERED: as PER_VALUE, with the
    rates of the volume traded in the last days. Every rate and amount is for makers and takers apart; negative: a rebate.
    """

    PER_VALUE = 0
    PER_QUANTITY = 1
    FLAT_PER_FILL = 2
    FLAT_PER_ORDER = 3
    TIERED = 4


FEE_DTYPE = np.dtype([(name, np.int64) for name in (
    "model", "inverse_scale", "maker_e8", "taker_e8", "at_midnight", "carries",
    # what moves: the present day since 1970 (UTC), the volume of the window, the tier; what fees were rounded by so far
    "day", "volume", "tier", "carried_e8",
)])  # fmt: skip
"""One record per set of parameters. `maker_e8`, `taker_e8`: 1e-8 of the value; 1e-8 cash units per lot (PER_QUANTITY);
cash units (FLAT_*; 1e-8 of them where fees carry). `inverse_scale` is 0 for LINEAR and SPOT."""


class FeeState(NamedTuple):
    """Everything the kernel needs.

    head : (1,) FEE_DTYPE
    tiers : (n, 3) int64: least volume in cash units (rising, from 0), maker rate, taker rate, as integers of 1e-8
    volumes : (window_days,) int64, value traded by day of the window, day d at d % window_days
    """

    head: Any
    tiers: NDArray[np.int64]
    volumes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Contract:
    """How value follows from price, in whole cash units.

    LINEAR, SPOT: value = price x quantity x multiplier, which is whole in tick-lots. INVERSE: a lot is worth a fixed amount
    of quote currency, so value = quantity x multiplier / price in base currency: not whole in anything. Its cash unit is
    lot_size x multiplier / (tick_size x inverse_scale) of base currency, and every value is rounded to it, halves away from
    zero: the ledger is exact in these units, and a unit is far below what a venue settles in.

    Parameters
    ----------
    inverse_scale : 0: LINEAR or SPOT; otherwise cash units of one lot at a price of one tick
    cash_unit : one cash unit in quote (LINEAR, SPOT) or base currency (INVERSE)
    carries : whether what a fee is rounded by goes into the next one: a unit of a contract with a multiplier may be large,
        and so may one be beside fees that a run names
    """

    inverse_scale: int
    cash_unit: Decimal
    carries: bool = False

    @classmethod
    def of(cls, instrument: Instrument) -> Contract:
        """Return the contract of an instrument; InvalidRequest for an INVERSE one whose lot cannot be counted."""
        scale = instrument.inverse_scale
        if scale >= MAX_TICK_LOTS:
            raise InvalidRequest.of(
                "lot_size",
                str(instrument.lot_size),
                "one that at a price of one tick is worth less than 2**62 units of cash",
            )
        return cls(scale, instrument.tick_lot, instrument.contract_multiplier != 1)

    def value(self, price_ticks: int, lots: int) -> int:
        """Return the value of `lots` at a price, in cash units."""
        if not self.inverse_scale:
            return price_ticks * lots
        return (2 * lots * self.inverse_scale + price_ticks) // (2 * price_ticks)


@dataclass(frozen=True, slots=True)
class Tier:
    """Rates from a traded value on (quote currency; base currency for INVERSE)."""

    least_volume: Decimal
    maker: Decimal
    taker: Decimal


def per_value(contract: Contract, maker: Decimal, taker: Decimal) -> FeeState:
    """Return fees as fractions of the traded value."""
    return _new(FeeModel.PER_VALUE, contract, _rate("fees.maker", maker), _rate("fees.taker", taker))


def per_quantity(contract: Contract, lot_size: Decimal, maker: Decimal, taker: Decimal) -> FeeState:
    """Return fees as amounts (settlement currency) per unit of quantity."""
    unit = EXACT.divide(EXACT.divide(contract.cash_unit, lot_size), Decimal(RATE_SCALE))
    rates = (_whole(f"fees.{name}", amount, unit, RATE_MAX) for name, amount in (("maker", maker), ("taker", taker)))
    return _new(FeeModel.PER_QUANTITY, contract, *rates)


def flat(contract: Contract, maker: Decimal, taker: Decimal, *, per_order: bool = False) -> FeeState:
    """Return fees as amounts (settlement currency) per fill or per order, rounded once to whole cash units, or to 1e-8 of one.

    Amounts that are whole in units of cash need no carrying, and may then be larger.
    """
    is_whole = all(_is_multiple(amount, contract.cash_unit) for amount in (maker, taker))
    contract = replace(contract, carries=contract.carries and not is_whole)
    unit = EXACT.divide(contract.cash_unit, Decimal(RATE_SCALE)) if contract.carries else contract.cash_unit
    amounts = [_whole(f"fees.{name}", amount, unit, FLAT_MAX) for name, amount in (("maker", maker), ("taker", taker))]
    return _new(FeeModel.FLAT_PER_ORDER if per_order else FeeModel.FLAT_PER_FILL, contract, *amounts)


def tiered(
    contract: Contract,
    tiers: Sequence[Tier],
    *,
    window_days: int = 30,
    at_midnight: bool = True,
    volume_before: Decimal = Decimal(0),
    start_ts: int = 0,
) -> FeeState:
    """Return fees by the value traded in the last `window_days` days (UTC, the present one included).

    Parameters
    ----------
    tiers : in rising order of least volume, the first from 0
    at_midnight : the tier changes at 00:00 UTC only, as on most venues; otherwise with the fill after the one that
        reached it
    volume_before : value traded before the run; counted on the day before it, so it counts `window_days - 1` days
    start_ts : the begin of the run, ns UTC: where `volume_before` lies
    """
    unit, names = contract.cash_unit, [f"fees.tiers[{number}]" for number in range(len(tiers))]
    least = [
        _whole(f"{name}.least_volume", tier.least_volume, unit, 2**62) for name, tier in zip(names, tiers, strict=True)
    ]
    if not least or least[0] != 0 or any(b <= a for a, b in pairwise(least)):
        values = [str(tier.least_volume) for tier in tiers]
        raise InvalidRequest.of("fees.tiers.least_volume", values, "rising amounts from 0 on")
    if not 1 <= window_days <= WINDOW_DAYS_MAX:
        raise InvalidRequest.of("fees.window_days", window_days, f"1 to {WINDOW_DAYS_MAX}")
    before = _whole("fees.volume_before", volume_before, unit, 2**62)
    if before < 0:
        raise InvalidRequest.of("fees.volume_before", str(volume_before), "0 or more")
    state = _new(FeeModel.TIERED, contract, 0, 0)
    rows = [
        (volume, _rate(f"{name}.maker", tier.maker), _rate(f"{name}.taker", tier.taker))
        for name, volume, tier in zip(names, least, tiers, strict=True)
    ]
    volumes = np.zeros(window_days, np.int64)
    day = start_ts // (86_400 * 10**9)
    if window_days > 1:
        volumes[(day - 1) % window_days] = before
        state.head["volume"] = before
        state.head["tier"] = sum(volume <= before for volume in least) - 1
    state.head["day"] = day
    state.head["at_midnight"] = int(at_midnight)
    return FeeState(state.head, np.array(rows, np.int64), volumes)


def _new(model: FeeModel, contract: Contract, maker: int, taker: int) -> FeeState:
    head = np.zeros(1, FEE_DTYPE)
    head["model"] = int(model)
    head["inverse_scale"] = contract.inverse_scale
    head["carries"] = int(contract.carries)
    head["maker_e8"], head["taker_e8"] = maker, taker
    return FeeState(head, np.zeros((1, 3), np.int64), np.zeros(1, np.int64))


def _rate(field: str, rate: Decimal) -> int:
    """Return a fraction of the value as an integer of 1e-8; a finer one is refused, as it would be taken for another."""
    if rate.is_finite() and not _is_multiple(rate, _RATE_UNIT):
        raise InvalidRequest.of(field, str(rate), "a fraction of the value of at most 8 decimals")
    return _whole(field, rate, _RATE_UNIT, RATE_MAX)


def _is_multiple(amount: Decimal, unit: Decimal) -> bool:
    return amount.is_finite() and EXACT.remainder_near(amount, unit) == 0


def _whole(field: str, amount: Decimal, unit: Decimal, most: int) -> int:
    """Return an amount in whole units, halves away from zero; InvalidRequest when it is more than `most` of them."""
    if not amount.is_finite() or abs(amount) > EXACT.multiply(unit, Decimal(most)):
        raise InvalidRequest.of(field, str(amount), f"a finite amount of at most {float(unit * most):g}")
    return int(EXACT.divide(amount, unit).to_integral_value(rounding=ROUND_HALF_UP))
