"""Value, fee and funding of one fill in whole cash units. Pure but for the traded volume of its own record.

Everything is int64; products that may exceed it are divided bit by bit. Halves are rounded away from zero. Knows no
orders and no ledger: the caller books what comes back (a positive fee or payment is paid).
"""

import numpy as np

from market_maker.backtest.fee_models import FeeModel
from market_maker.backtest.ladder.kernel import inner
from market_maker.domain.instrument import RATE_SCALE
from market_maker.domain.order import Liquidity

PER_VALUE, PER_QUANTITY = np.int64(FeeModel.PER_VALUE), np.int64(FeeModel.PER_QUANTITY)
FLAT_PER_FILL, FLAT_PER_ORDER = np.int64(FeeModel.FLAT_PER_FILL), np.int64(FeeModel.FLAT_PER_ORDER)
MAKER = np.int64(Liquidity.MAKER)
ZERO, SCALE = np.int64(0), np.int64(RATE_SCALE)
DAY_NS = 86_400 * 10**9


@inner
def scaled(amount, factor, divisor):
    """Return amount * factor / divisor, halves away from zero, for amount, factor >= 0 and 0 < divisor < 2**62.

    amount = q * divisor + r leaves r * factor / divisor, built over the bits of `factor` so that nothing exceeds
    2 * divisor. The result must fit an int64.
    """
    q, r = amount // divisor, amount % divisor
    quotient, remainder = np.int64(0), np.int64(0)
    for bit in range(62, -1, -1):
        quotient *= 2
        remainder *= 2
        if remainder >= divisor:
            remainder -= divisor
            quotient += 1
        if (factor >> bit) & 1:
            remainder += r
            if remainder >= divisor:
                remainder -= divisor
                quotient += 1
    return q * factor + quotient + (1 if 2 * remainder >= divisor else 0)


@inner
def value_of(inverse_scale, price, lots):
    """Return the value of `lots` at a price in cash units: price x lots, or lots / price for an inverse contract."""
    if inverse_scale == 0:
        return price * lots
    return scaled(lots, inverse_scale, price)


@inner
def cash_change(inverse_scale, side, value):
    """Return what a fill adds to cash: a buyer pays its value; of an inverse contract he owes quote currency instead.

    The position's worth at a price is then position x price (linear) or -value_of(position) (inverse), so that cash
    plus worth is the result before fees in both: long 1 from p1 to p2 earns p2 - p1, or 1/p1 - 1/p2.
    """
    return -side * value if inverse_scale == 0 else side * value


@inner
def rate_fee(value, rate_e8):
    """Return the fee on a value at a rate of 1e-8; the value is split so that nothing overflows below 2**63 of fee."""
    whole, rest = value // SCALE, value % SCALE
    rate = abs(rate_e8)
    fee = whole * rate
    if rate < 2**36:
        fee += (rest * rate + SCALE // 2) // SCALE
    else:
        fee += scaled(rest, rate, SCALE)
    return fee if rate_e8 >= 0 else -fee


@inner
def carried_fee(fees, amount, rate_e8):
    """Return `rate_fee`; of a contract whose fees carry, with what the fees before were rounded by.

    A unit of cash of a future of 50 USD a point is 12.5 USD: every fee of a dollar would be rounded to nothing. Carried, the
    fees so far are right to half a unit, whatever they were rounded to one by one.
    """
    rate = abs(rate_e8)
    if fees["carries"] == 0 or rate >= 2**36:
        return rate_fee(amount, rate_e8)
    whole, rest = amount // SCALE, amount % SCALE
    exact_e8 = rest * rate_e8 + fees["carried_e8"]
    fee = (exact_e8 + SCALE // 2) // SCALE
    fees["carried_e8"] = exact_e8 - fee * SCALE
    return whole * rate_e8 + fee


@inner
def flat_fee(fees, amount):
    """Return a flat amount, which is in 1e-8 units where fees carry."""
    return amount if fees["carries"] == 0 else carried_fee(fees, np.int64(1), amount)


@inner
def tier_of(tiers, volume):
    """Return the number of the highest tier that a volume reaches."""
    tier = np.int64(len(tiers) - 1)
    while tier > 0 and tiers[tier, 0] > volume:
        tier -= 1
    return tier


@inner
def turn_days(fees, tiers, volumes, ts):
    """Let days pass up to that of `ts`: what is older than the window is forgotten, and the tier set anew."""
    day = ts // DAY_NS
    if day <= fees["day"]:
        return
    window = len(volumes)
    # After a whole window without a day in between nothing is left; more turns would forget nothing more.
    first = max(fees["day"] + 1, day - window + 1)
    for passed in range(first, day + 1):
        fees["volume"] -= volumes[passed % window]
        volumes[passed % window] = 0
    fees["day"] = day
    if fees["at_midnight"] == 1:
        fees["tier"] = tier_of(tiers, fees["volume"])


@inner
def tiered_fee(fees, tiers, volumes, ts, is_maker, value):
    """Return the fee of the present tier and add the value to the volume of the day."""
    turn_days(fees, tiers, volumes, ts)
    if fees["at_midnight"] == 0:
        fees["tier"] = tier_of(tiers, fees["volume"])
    rate = tiers[fees["tier"], 1 if is_maker else 2]
    fees["volume"] += value
    volumes[fees["day"] % len(volumes)] += value
    return carried_fee(fees, value, rate)


@inner
def fill_fee(fees, tiers, volumes, ts, liquidity, value, lots, is_first):
    """Return the fee of a fill in cash units; negative: a rebate.

    Parameters
    ----------
    fees, tiers, volumes : a record of FEE_DTYPE and the arrays of `FeeState`
    ts : time of the fill at the venue; never earlier than that of the fill before it
    value, lots : of this fill
    is_first : whether it is the first fill of its order
    """
    model = fees["model"]
    is_maker = liquidity == MAKER
    rate = fees["maker_e8"] if is_maker else fees["taker_e8"]
    if model == PER_VALUE:
        return carried_fee(fees, value, rate)
    if model == PER_QUANTITY:
        return carried_fee(fees, lots, rate)
    if model == FLAT_PER_FILL:
        return flat_fee(fees, rate)
    if model == FLAT_PER_ORDER:
        return flat_fee(fees, rate) if is_first else ZERO
    return tiered_fee(fees, tiers, volumes, ts, is_maker, value)


@inner
def funding_payment(position_lots, per_lot_e8):
    """Return what a position pays at a funding instant, halves away from zero; shorts pay the negative of longs.

    per_lot_e8 : what one lot long pays, as an integer of 1e-8 cash units, see `fee_models.funding`
    """
    amount = scaled(abs(position_lots), abs(per_lot_e8), SCALE)
    return amount if (position_lots < 0) == (per_lot_e8 < 0) else -amount
