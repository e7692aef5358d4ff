"""Limits of a run: what a request may say, the whole units of the kernel, and what is told of them afterwards.

The kinds, names and units are those of `risk.limits`; the rules are `kernel`'s, which shares its arithmetic with live
trading (`risk.rules`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from market_maker.backtest.state import MESSAGES_MAX, HoldCode, LimitPlace
from market_maker.domain.errors import FieldError, InvalidRequest
from market_maker.domain.instrument import EXACT, Instrument
from market_maker.risk.limits import HOLDS, STATES, WARN_SHARE, Limit, LimitKind, LimitScope, OnBreach

RATE_MAX = MESSAGES_MAX - 96
_COUNTS = {LimitKind.MAX_MESSAGE_RATE, LimitKind.MAX_REPEATED_ORDERS}
_CASH = {LimitKind.MAX_ORDER_NOTIONAL, LimitKind.MAX_NOTIONAL, LimitKind.MAX_LOSS, LimitKind.MAX_DRAWDOWN}
_HELD = {LimitKind.MAX_POSITION, LimitKind.MAX_NOTIONAL, LimitKind.MAX_LOSS, LimitKind.MAX_DRAWDOWN}
_FIELDS = ("kind", "threshold", "warn_share", "on_breach")
_LARGEST = 2**62
_HALF, _SHARE = Decimal("0.5"), Decimal("1e-8")


def limits_of(values: Sequence[Any] | None) -> tuple[Limit, ...]:
    """Return the limits of a request: objects of `kind`, `threshold` and, if wanted, `warn_share` and `on_breach`.

    InvalidRequest names the element and its field: an unknown one, a kind that has no meaning in a replay or comes twice,
    an amount that is not one, `on_breach` of a kind that refuses orders by itself.
    """
    if values is not None and (isinstance(values, str | Mapping) or not isinstance(values, Sequence)):
        raise InvalidRequest.of("limits", values, "a list of objects")
    found: list[Limit] = []
    for number, value in enumerate(values or ()):
        limit = _limit_of(f"limits[{number}]", value)
        if any(limit.kind is other.kind for other in found):
            raise InvalidRequest.of(f"limits[{number}].kind", limit.kind.value, "each kind once")
        found.append(limit)
    return tuple(found)


def limits_json(limits: Sequence[Limit]) -> list[dict[str, str]]:
    """Return limits as JSON values, as `limits_of` takes them."""
    return [
        {
            "kind": limit.kind.value,
            "threshold": f"{limit.threshold:f}",
            "warn_share": f"{limit.warn_share:f}",
            "on_breach": limit.on_breach.value,
        }
        for limit in limits
    ]


def _limit_of(path: str, value: Any) -> Limit:
    if not isinstance(value, Mapping):
        raise InvalidRequest.of(path, value, f"an object with {', '.join(_FIELDS)}")
    for name in value:
        if name not in _FIELDS:
            raise InvalidRequest.of(f"{path}.{name}", value[name], f"only {', '.join(_FIELDS)}")
    kind: Any = value.get("kind")
    if not isinstance(kind, str) or kind not in LimitPlace.__members__:
        raise InvalidRequest.of(f"{path}.kind", kind, f"one of {', '.join(LimitPlace.__members__)}")
    wanted = value.get("on_breach", OnBreach.ALERT.value)
    allowed = [each.value for each in OnBreach] if LimitKind(kind) in _HELD else [OnBreach.ALERT.value]
    if wanted not in allowed:
        raise InvalidRequest.of(f"{path}.on_breach", wanted, f"{', '.join(allowed)} for {kind}")
    threshold, share = (_amount(path, name, value.get(name, given)) for name, given in _DEFAULTS)
    if LimitKind(kind) in _COUNTS and threshold > RATE_MAX:
        raise InvalidRequest.of(f"{path}.threshold", f"{threshold:f}", f"at most {RATE_MAX} in a replay")
    try:
        return Limit(_NOBODY, LimitKind(kind), LimitScope.ALL, None, threshold, share, OnBreach(wanted))
    except InvalidRequest as error:
        named = tuple(FieldError(f"{path}.{each.field}", each.value, each.allowed) for each in error.errors)
        raise InvalidRequest(f"{path}.{error.detail}", named) from None


_NOBODY = UUID(int=0)
_DEFAULTS = (("threshold", None), ("warn_share", WARN_SHARE))


def _amount(path: str, name: str, value: Any) -> Decimal:
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        try:
            amount = Decimal(value)
        except InvalidOperation:
            pass
        else:
            if amount.is_finite() and (not amount or -30 < amount.adjusted() < 30):
                return amount
    raise InvalidRequest.of(f"{path}.{name}", value, "an amount as text")


def unit_of(kind: LimitKind, instrument: Instrument) -> Decimal:
    """Return what one whole unit of a kind's values in the kernel is: lots, half units of cash, 1e-8, messages."""
    if kind in _COUNTS:
        return Decimal(1)
    if kind is LimitKind.PRICE_COLLAR:
        return _SHARE
    return EXACT.multiply(instrument.tick_lot, _HALF) if kind in _CASH else instrument.lot_size


def write_limits(row: Any, limits: Sequence[Limit], instrument: Instrument) -> None:
    """Write limits into the row of a set, LIMIT_DTYPE by place."""
    for limit in limits:
        unit = unit_of(limit.kind, instrument)
        cell = row[int(LimitPlace[limit.kind.name])]
        threshold, held_above, warn_from, warned_from = limit.bounds
        cell["is_set"] = 1
        cell["bound"], cell["held_above"] = (_whole(each, unit, ROUND_FLOOR) for each in (threshold, held_above))
        cell["warn_from"], cell["warned_from"] = (
            _whole(each, unit, ROUND_CEILING) for each in (warn_from, warned_from)
        )
        cell["on_breach"] = int(HoldCode[HOLDS[limit.on_breach].name])


def _whole(amount: Decimal, unit: Decimal, rounding: str) -> int:
    # Nothing that is counted in 62 bits is beyond this: such a limit is never reached.
    return min(int(EXACT.divide(amount, unit).to_integral_value(rounding)), _LARGEST)


@dataclass(frozen=True, slots=True)
class LimitOutcome:
    """What became of a limit in a run.

    Parameters
    ----------
    kind, threshold, warn_share, on_breach : the limit, in its units
    state : OK, WARN or BREACHED, at the last evaluation
    evaluated : how often; `value` and `ts` of the last time, `largest` of all, None without any
    warnings, breaches : how often it came to warn, and to be breached; first instant and value of each, None without
    refused : orders and changes that it did not let leave
    hold, hold_ts : REDUCING or HALTED from an instant on when this limit did it, else ACTIVE
    """

    kind: str
    threshold: str
    warn_share: str
    on_breach: str
    state: str
    evaluated: int
    value: str | None
    ts: str | None
    largest: str | None
    warnings: int
    warned_ts: str | None
    warned_value: str | None
    breaches: int
    breached_ts: str | None
    breached_value: str | None
    refused: int
    hold: str
    hold_ts: str | None


def outcomes(limits: Sequence[Limit], row: Any, guard: Any, instrument: Instrument) -> list[LimitOutcome]:
    """Return what became of the limits of a set: its row of LIMIT_DTYPE and its guard."""
    found = []
    for limit, said in zip(limits, limits_json(limits), strict=True):
        told: dict[str, Any] = dict(said)
        place = LimitPlace[limit.kind.name]
        cell = {name: int(row[int(place)][name]) for name in row.dtype.names}
        unit = unit_of(limit.kind, instrument)
        times: dict[str, Any] = {name: cell[name] for name in ("evaluated", "warnings", "breaches", "refused")}
        holds = bool(guard["hold"]) and int(guard["hold_place"]) == place
        found.append(
            LimitOutcome(
                **told,
                **times,
                state=STATES[cell["state"]].value,
                value=_shown(cell["value"], unit, cell["evaluated"]),
                ts=str(cell["ts"]) if cell["evaluated"] else None,
                largest=_shown(cell["most"], unit, cell["evaluated"]),
                warned_ts=str(cell["warned_ts"]) if cell["warnings"] else None,
                warned_value=_shown(cell["warned_value"], unit, cell["warnings"]),
                breached_ts=str(cell["breached_ts"]) if cell["breaches"] else None,
                breached_value=_shown(cell["breached_value"], unit, cell["breaches"]),
                hold=HoldCode(int(guard["hold"])).name if holds else HoldCode.ACTIVE.name,
                hold_ts=str(int(guard["hold_ts"])) if holds else None,
            )
        )
    return found


def _shown(value: int, unit: Decimal, times: int) -> str | None:
    """Return a value in its unit; None where there is none, or it was that of an order without any price."""
    return None if not times or value >= _LARGEST else f"{EXACT.multiply(Decimal(value), unit):f}"
