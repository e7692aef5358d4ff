"""What is traded: tick, lot and fees of a pair, and the exact way between Decimal and integers."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal, DecimalException
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


class ContractType(StrEnum):
    """How value follows from price: SPOT and LINEAR: price x quantity; INVERSE: quantity / price."""

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
    _tick: _Step = field(init=False, repr=False, compare=False)
    _lot: _Step = field(init=False, repr=False, compare=False)
    _cash: _Step = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, size in (("_tick", self.tick_size), ("_lot", self.lot_size), ("_cash", self.tick_lot)):
            object.__setattr__(self, name, _Step.of(size))

    def price_text(self, price_ticks: int) -> str:
        """Return the price of `price_ticks` as plain decimal text, by integer arithmetic alone."""
        return self._tick.text(price_ticks)

    def qty_text(self, qty_lots: int) -> str:
        """Return the quantity of `qty_lots` as plain decimal text."""
        return self._lot.text(qty_lots)

    def cash_text(self, tick_lots: int) -> str:
        """Return an amount of tick-lots in quote currency as plain decimal text."""
        return self._cash.text(tick_lots)

    @property
    def settled_in(self) -> str:
        """Currency of cash, fees and results: the base of an INVERSE contract, the quote of all others."""
        return self.base if self.contract_type is ContractType.INVERSE else self.quote

    @property
    def tick_lot(self) -> Decimal:
        """Value in quote currency of one lot at a price of one tick: the unit of cash in kernels."""
        return EXACT.multiply(self.tick_size, self.lot_size)

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
        """Return an amount of tick-lots in quote currency."""
        return EXACT.multiply(Decimal(tick_lots), self.tick_lot)


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
