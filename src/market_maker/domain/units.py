"""Text forms of durations (`100ms`), money (`100000 USDT`) and instants, exactly as users write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Clamped, Context, Decimal, DecimalException, Inexact, InvalidOperation, Rounded, Subnormal

from market_maker.domain.errors import InvalidRequest

NS_PER_SECOND = 1_000_000_000
DAY_NS = 86_400 * NS_PER_SECOND
_UNIT_NS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": NS_PER_SECOND,
    "m": 60 * NS_PER_SECOND,
    "h": 3600 * NS_PER_SECOND,
    "d": DAY_NS,
}
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s*(ns|us|ms|s|m|h|d)", re.ASCII)
_MONEY = re.compile(r"(-?\d{1,30}(?:\.\d{1,18})?)\s+([A-Z][A-Z0-9]{1,11})", re.ASCII)
_MAX_NS = 2**62
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

DURATION_ALLOWED = "a number with a unit of ns, us, ms, s, m, h or d, such as 100ms, 1s or 1d"


def parse_duration(text: object, field: str = "duration") -> int:
    """Return nanoseconds for text such as ``100ms``, ``1s``, ``1.5h``, ``1d``; InvalidRequest names `field`."""
    match = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise InvalidRequest.of(field, text, DURATION_ALLOWED)
    nanoseconds = Decimal(match[1]) * _UNIT_NS[match[2]]
    if nanoseconds != int(nanoseconds) or nanoseconds > _MAX_NS:
        raise InvalidRequest.of(field, text, DURATION_ALLOWED + ", whole nanoseconds, less than 146 years")
    return int(nanoseconds)


def format_duration(nanoseconds: int) -> str:
    """Return the shortest exact text of a duration: 100_000_000 -> ``100ms``."""
    for unit in ("d", "h", "m", "s", "ms", "us"):
        if nanoseconds and nanoseconds % _UNIT_NS[unit] == 0:
            return f"{nanoseconds // _UNIT_NS[unit]}{unit}"
    return f"{nanoseconds}ns"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one currency."""

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        return f"{self.amount:f} {self.currency}"


def parse_money(text: object, field: str = "money") -> Money:
    """Return the amount and currency of text such as ``100000 USDT``; InvalidRequest names `field`."""
    match = _MONEY.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise InvalidRequest.of(field, text, "an amount and a currency, such as 100000 USDT")
    return Money(Decimal(match[1]), match[2])


def parse_decimal(text: str, field: str) -> Decimal:
    """Return finite decimal text as a Decimal; InvalidRequest names `field`."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise InvalidRequest.of(field, text, "a finite decimal number")
    return value


_BOUNDED = Context(prec=60, Emax=60, Emin=-60, traps=[Clamped, Inexact, InvalidOperation, Rounded, Subnormal])


def check_decimal(value: Decimal, field: str) -> None:
    """Refuse what is no number or would cost seconds or gigabytes to work with, such as 1e-999999999.

    Raises
    ------
    InvalidRequest : names `field`
    """
    try:
        is_number = _BOUNDED.create_decimal(value).is_finite()
    except DecimalException:
        is_number = False
    if not is_number:
        raise InvalidRequest.of(field, str(value), "a finite decimal number of at most 60 digits, from 1e-60 to 1e60")


def parse_instant(text: str, field: str, *, end_of_day: bool = False) -> int:
    """Return ns UTC of a date (``2022-01-01``) or a timestamp (``2022-01-01T12:00:00Z``).

    A date means its first instant or, with `end_of_day`, the first instant of the next day, so that both days
    of a range are included. A timestamp without an offset is UTC; up to 9 fractional digits are kept.
    """
    allowed = "a UTC date (2022-01-01) or timestamp (2022-01-01T12:00:00Z) between 1970 and 2200"
    if not isinstance(text, str) or len(text) > 40:
        raise InvalidRequest.of(field, text, allowed)
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            moment = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            moment += timedelta(days=1 if end_of_day else 0)
            fraction = ""
        else:
            match = re.fullmatch(
                r"(\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})?", text, re.ASCII
            )
            if match is None:
                raise ValueError(text)
            offset = match[3] or "+00:00"
            moment = datetime.fromisoformat(match[1] + ("+00:00" if offset == "Z" else offset))
            fraction = match[2] or ""
        since = moment.astimezone(UTC) - _EPOCH
        ts = (since.days * 86_400 + since.seconds) * NS_PER_SECOND + int(fraction.ljust(9, "0"))
    except (ValueError, OverflowError):
        raise InvalidRequest.of(field, text, allowed) from None
    if not 0 <= ts < 7_258_118_400 * NS_PER_SECOND:
        raise InvalidRequest.of(field, text, allowed)
    return ts


def format_instant(ts: int) -> str:
    """Return ns UTC as ISO 8601 text with nine fractional digits and ``Z``."""
    seconds, fraction = divmod(ts, NS_PER_SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"
