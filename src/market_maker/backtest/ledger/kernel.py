"""The exact ledger of a set: fills by average cost, fees, funding, and whether an order can be paid.

Everything is whole cash units: tick-lots for spot and linear contracts, see `fee_models.Contract` for inverse ones. Knows
orders by side, price and quantity only, and nothing of queues or time.
"""

import numpy as np

from market_maker.backtest.fee_models.kernel import cash_change, fill_fee, funding_payment, value_of
from market_maker.backtest.ladder.kernel import inlined, inner, nth
from market_maker.backtest.state import FOREVER

ZERO = np.int64(0)
VALUE_MAX = 2**60
SMALL = 2**30
"""The product of two numbers below it is below VALUE_MAX."""


@inner
def share_half_up(amount, part, whole):
    """Return amount * part / whole, rounded half up, for 0 <= part <= whole, without overflow.

    amount = q * whole + r leaves r * part / whole, built bit by bit so that nothing exceeds 2 * whole; at once where r and
    part are small enough for their product.
    """
    q, r = amount // whole, amount % whole
    if whole < SMALL:
        product = r * part
        share = product // whole
        return q * part + share + (1 if 2 * (product - share * whole) >= whole else 0)
    quotient, remainder = np.int64(0), np.int64(0)
    for bit in range(62, -1, -1):
        quotient *= 2
        remainder *= 2
        if remainder >= whole:
            remainder -= whole
            quotient += 1
        if (part >> bit) & 1:
            remainder += r
            if remainder >= whole:
                remainder -= whole
                quotient += 1
    return q * part + quotient + (1 if 2 * remainder >= whole else 0)


@inlined
def book_fill(head, inverse_scale, side, price, lots, value, fee):
    """Book a fill of a value in the venue's ledger by average cost; the same arithmetic as domain.position."""
    held = head["position_lots"]
    paid = -cash_change(inverse_scale, side, value)
    head["cash_tick_lots"] -= paid
    head["fees_tick_lots"] += fee
    if held * side >= 0:
        head["cost_tick_lots"] += paid
    else:
        closing = min(abs(held), lots)
        cost_out = share_half_up(head["cost_tick_lots"], closing, abs(held))
        got = cash_change(inverse_scale, side, value_of(inverse_scale, price, closing))
        head["realised_tick_lots"] += got - cost_out
        head["cost_tick_lots"] += paid + got - cost_out
    head["position_lots"] = held + side * lots


@inlined
def change_open(head, inverse_scale, side, price, lots_before, lots_after):
    """A resting order of a side changes from a quantity to another: what all of them would cost changes with it."""
    change = value_of(inverse_scale, price, lots_after) - value_of(inverse_scale, price, lots_before)
    if side > 0:
        head["open_buys_tick_lots"] += change
    else:
        head["open_sells_tick_lots"] += change
        head["open_sell_lots"] += lots_after - lots_before


@inner
def can_afford(head, inverse_scale, side, price, lots):
    """Return whether settled funds cover the worst exposure with one more order.

    Exposure is what the position cost with all open orders of one side filled, divided by the leverage. A cash account
    sells only what it has.
    """
    # Without the division, which takes longer than all the rest, for what is small anyway.
    if inverse_scale == 0 and (price | lots) >= SMALL and price > VALUE_MAX // lots:
        return False
    if head["cash_account"] == 1 and side < 0 and head["open_sell_lots"] + lots > head["position_lots"]:
        return False
    value = value_of(inverse_scale, price, lots)
    held = head["cost_tick_lots"] if inverse_scale == 0 else -head["cost_tick_lots"]
    buys = head["open_buys_tick_lots"] + (value if side > 0 else 0)
    sells = head["open_sells_tick_lots"] + (value if side < 0 else 0)
    spent = head["fees_tick_lots"] + head["funding_tick_lots"]
    funds = head["balance_tick_lots"] + head["realised_tick_lots"] - spent
    leverage = head["leverage"]
    exposure = max(abs(held + buys), abs(held - sells))
    return (exposure if leverage == 1 else (exposure + leverage - 1) // leverage) <= funds


@inlined
def fee_of_fill(state, k, ts, liquidity, value, lots, is_first):
    """Return the fee of a fill by the fee model of the set."""
    return fill_fee(
        state.fees[nth(k)], state.fee_tiers[nth(k)], state.fee_volumes[nth(k)], ts, liquidity, value, lots, is_first
    )


@inner
def pay_funding(state):
    """Let every set pay or receive what its position owes at the funding instant that is due."""
    clock = state.clock[0]
    row = clock["funding_row"]
    for k in range(len(state.head)):
        head = state.head[nth(k)]
        payment = funding_payment(head["position_lots"], state.funding_e8[nth(row)])
        head["funding_tick_lots"] += payment
        head["known_cash_tick_lots"] -= payment
    clock["funding_row"] = row + 1
    clock["next_funding_ts"] = state.funding_ts[nth(row + 1)] if row + 1 < len(state.funding_ts) else FOREVER
