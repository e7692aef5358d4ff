"""What is traded: tick, lot and fees of a pair, and the exact way between Decimal and integers."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal, DecimalException
from enum import StrEnum
from uuid import UUID

from market_maker.domain.errors import InvalidRequest

EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
"""Wide enough that every product of two int64 and a decimal step is exact."""

RATE_SCALE = 100_000_000
"""Fee rates are kept as integers of 1e-8 of the traded value."""

MAX_TICKS = 2**40
MAX_LOTS = 2**40
MAX_TICK_LOTS = 2**62


INVERSE_UNIT = Decimal("1e-10")
"""Cash of an INVERSE contract is counted in units of at most this much base currency."""

_SHORT = Context(prec=15, rounding=ROUND_HALF_EVEN)
"""Digits of such a unit where it has no end, as that of a tick of 0.3: amounts are whole units and still short text."""


class ContractType(StrEnum):
    """How value follows from price: SPOT and LINEAR: price x quantity; INVERSE: quantity / price; times the multiplier."""

    SPOT = "SPOT"
    LINEAR = "LINEAR"
    INVERSE = "INVERSE"


@dataclass(frozen=True, slots=True)
class _Step:
    """A step size as an integer of 10**-decimals, so that multiples of it are written by integer arithmetic."""

    units: int
    decimals: int
    scale: int
    zero: str

    @classmethod
    def of(cls, size: Decimal) -> _Step:
        exponent = size.as_tuple().exponent
        assert isinstance(exponent, int), size
        decimals = max(0, -exponent)
        zero = f"{Decimal(0).scaleb(-decimals):f}"
        return cls(int(size.scaleb(decimals, EXACT)), decimals, 10**decimals, zero)

    def text(self, steps: int) -> str:
        if not steps:
            return self.zero
        if not self.decimals:
            return str(steps * self.units)
        whole, fraction = divmod(abs(steps * self.units), self.scale)
        sign = "-" if steps < 0 else ""
        return f"{sign}{whole}.{fraction:0{self.decimals}d}"


@dataclass(frozen=True, slots=True)
class Instrument:
    """A traded pair.

    Parameters
    ----------
    pair_id : identity in URLs and requests
    venue, symbol : where the market data lies in the lake (`simulator`, `BTC-USDT`)
    base, quote : currencies
    tick_size, lot_size : smallest step of price (quote currency) and of quantity (base currency or contracts)
    contract_type : SPOT, LINEAR or INVERSE
    maker_fee, taker_fee : fraction of the traded value, at most 8 decimals; negative is a rebate
    contract_multiplier : what one unit of quantity stands for: 50 of a future of 50 USD a point, 100 of an INVERSE
        contract of 100 USD

    `inverse_scale` : units of cash that one lot of an INVERSE contract is worth at a price of one tick; 0 for all others
    """

    pair_id: UUID
    venue: str
    symbol: str
    base: str
    quote: str
    tick_size: Decimal
    lot_size: Decimal
    contract_type: ContractType = ContractType.LINEAR
    maker_fee: Decimal = Decimal(0)
    taker_fee: Decimal = Decimal(0)
    contract_multiplier: Decimal = Decimal(1)
    inverse_scale: int = field(init=False, repr=False, compare=False)
    _tick: _Step = field(init=False, repr=False, compare=False)
    _lot: _Step = field(init=False, repr=False, compare=False)
    _cash: _Step = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("tick_size", "lot_size", "contract_multiplier"):
            value = getattr(self, name)
            if not (value.is_finite() and value > 0):
                raise InvalidRequest.of(name, str(value), "a positive number of at most 12 decimals")
        scale = 0
        if self.contract_type is ContractType.INVERSE:
            lot_at_one_tick = EXACT.divide(EXACT.multiply(self.lot_size, self.contract_multiplier), self.tick_size)
            scale = int(EXACT.divide(lot_at_one_tick, INVERSE_UNIT).to_integral_value(rounding=ROUND_CEILING))
        object.__setattr__(self, "inverse_scale", scale)
        for name, size in (("_tick", self.tick_size), ("_lot", self.lot_size), ("_cash", self.tick_lot)):
            object.__setattr__(self, name, _Step.of(size))

    def price_text(self, price_ticks: int) -> str:
        """Return the price of `price_ticks` as plain decimal text, by integer arithmetic alone."""
        return self._tick.text(price_ticks)

    def qty_text(self, qty_lots: int) -> str:
        """Return the quantity of `qty_lots` as plain decimal text."""
        return self._lot.text(qty_lots)

    def cash_text(self, tick_lots: int) -> str:
        """Return an amount of tick-lots in `settled_in` as plain decimal text."""
        return self._cash.text(tick_lots)

    @property
    def settled_in(self) -> str:
        """Currency of cash, fees and results: the base of an INVERSE contract, the quote of all others."""
        return self.base if self.contract_type is ContractType.INVERSE else self.quote

    @property
    def counted_in(self) -> str:
        """What quantities count: contracts of an INVERSE pair or of one with a multiplier, else the base currency."""
        is_of_contracts = self.contract_type is ContractType.INVERSE or self.contract_multiplier != 1
        return "contracts" if is_of_contracts else self.base

    @property
    def tick_lot(self) -> Decimal:
        """The unit of cash in kernels, in `settled_in`.

        SPOT, LINEAR: the value of one lot at a price of one tick. INVERSE: that value by `inverse_scale`, to 15 digits where
        it has no end.
        """
        value = EXACT.multiply(self.lot_size, self.contract_multiplier)
        if self.contract_type is not ContractType.INVERSE:
            return EXACT.multiply(self.tick_size, value)
        return _SHORT.plus(EXACT.divide(EXACT.divide(value, self.tick_size), Decimal(self.inverse_scale)))

    def cost(self, price_ticks: int, qty_lots: int) -> int:
        """Return what a long position of `qty_lots` >= 0 at a price is worth in tick-lots; its holder pays as much.

        Of an INVERSE contract he owes: it is -quantity / price, rounded to a unit, halves away from zero. Long 1 from p1
        to p2 then earns p2 - p1, or 1/p1 - 1/p2.
        """
        scale = self.inverse_scale
        return price_ticks * qty_lots if not scale else -((2 * qty_lots * scale + price_ticks) // (2 * price_ticks))

    @property
    def maker_fee_e8(self) -> int:
        """Maker fee as an integer of 1e-8."""
        return int(self.maker_fee.scaleb(8))

    @property
    def taker_fee_e8(self) -> int:
        """Taker fee as an integer of 1e-8."""
        return int(self.taker_fee.scaleb(8))

    def price_to_ticks(self, price: Decimal, field: str = "price") -> int:
        """Return `price` in ticks; off-tick, non-positive or absurd prices raise InvalidRequest naming `field`."""
        return _steps(price, self.tick_size, MAX_TICKS, field, "tick size")

    def qty_to_lots(self, quantity: Decimal, field: str = "amount") -> int:
        """Return `quantity` in lots; off-lot, non-positive or absurd quantities raise InvalidRequest naming `field`."""
        return _steps(quantity, self.lot_size, MAX_LOTS, field, "lot size")

    def signed_lots(self, quantity: Decimal, field: str = "quantity") -> int:
        """Return a signed quantity (zero allowed) in lots; otherwise as `qty_to_lots`."""
        if not quantity:
            return 0
        lots = self.qty_to_lots(abs(quantity), field)
        return lots if quantity > 0 else -lots

    def ticks_to_price(self, price_ticks: int) -> Decimal:
        """Return the exact price of `price_ticks`."""
        return EXACT.multiply(Decimal(price_ticks), self.tick_size)

    def lots_to_qty(self, qty_lots: int) -> Decimal:
        """Return the exact quantity of `qty_lots`."""
        return EXACT.multiply(Decimal(qty_lots), self.lot_size)

    def cash_to_decimal(self, tick_lots: int) -> Decimal:
        """Return an amount of tick-lots in `settled_in`."""
        return EXACT.multiply(Decimal(tick_lots), self.tick_lot)

    def cash_units(self, amount: Decimal, *, per_unit: int = 1) -> int:
        """Return an amount of `settled_in` that is a whole number of units of cash, or of so many to a unit, as that number.

        To the nearest: amounts that were kept by an earlier version may have more digits of a unit without end.
        """
        units = EXACT.divide(EXACT.multiply(amount, Decimal(per_unit)), self.tick_lot)
        return int(units.to_integral_value(rounding=ROUND_HALF_EVEN))


def check_steps(instrument: Instrument) -> None:
    """Raise InvalidRequest for a tick or a lot that nobody should give a pair by hand."""
    for name, value in (("tick_size", instrument.tick_size), ("lot_size", instrument.lot_size)):
        if not Decimal("1e-12") <= value <= 10**9 or value.scaleb(12) % 1:
            raise InvalidRequest.of(name, str(value), "a positive number of at most 12 decimals")


def check_terms(instrument: Instrument) -> None:
    """Raise InvalidRequest for fees, currencies or a multiplier that cannot be."""
    for name, rate in (("maker_fee", instrument.maker_fee), ("taker_fee", instrument.taker_fee)):
        if not rate.is_finite() or abs(rate) > Decimal("0.1") or rate.scaleb(8) % 1:
            raise InvalidRequest.of(name, str(rate), "a fraction from -0.1 to 0.1 of at most 8 decimals")
    many = instrument.contract_multiplier
    if not many.is_finite() or not Decimal("1e-9") <= many <= 10**9 or many.scaleb(12) % 1:
        raise InvalidRequest.of("contract_multiplier", str(many), "a number from 1e-9 to 1e9 of at most 12 decimals")
    if instrument.base == instrument.quote:
        raise InvalidRequest.of("quote", instrument.quote, "another currency than base")
    if instrument.inverse_scale >= MAX_TICK_LOTS:
        raise InvalidRequest.of("lot_size", str(instrument.lot_size), "a lot that at one tick is below 4e8 of the base")


def fee_tick_lots(value_tick_lots: int, rate_e8: int) -> int:
    """Return the fee on a traded value in tick-lots: rate x value, halves away from zero; positive is paid."""
    scaled = abs(value_tick_lots) * abs(rate_e8)
    fee = (scaled + RATE_SCALE // 2) // RATE_SCALE
    return fee if rate_e8 >= 0 else -fee


def _steps(value: Decimal, step: Decimal, most: int, field: str, step_name: str) -> int:
    try:
        steps = EXACT.divide(value, step)
        whole = int(steps) if steps.is_finite() and abs(steps) <= most else 0
    except DecimalException:
        whole, steps = 0, Decimal(0)
    if whole <= 0 or whole != steps:
        raise InvalidRequest.of(
            field,
            str(value),
            f"a positive multiple of the {step_name} {step}, at most {EXACT.multiply(step, Decimal(most)):f}",
        )
    return whole
