"""Every rule of quality: what it measures, worked out by hand, and the verdict below, at and above its thresholds."""

from __future__ import annotations

import math
from decimal import Decimal

import polars as pl
import pytest

from collector_lines import DAY_MS, START_MS
from market_maker.market_data.book import Book
from market_maker.market_data.quality import RULES, Meter, Verdict, judge, worst
from market_maker.market_data.schema import DAY_NS, EventKind, frame_of

DEPTH, TRADE, CLEAR, SNAPSHOT, PRINT, ADD, CANCEL, MODIFY, FILL = EventKind
DAY = (START_MS + 4 * DAY_MS) * 1_000_000  # Wednesday, 2023-12-13
S = 1_000_000_000
PASS, WARN, FAIL = Verdict.PASS, Verdict.WARN, Verdict.FAIL


def verdicts(figures):
    return {finding.rule: finding.verdict for finding in judge(figures)}


CASES = [
    ("receive_time_reversals", 0, PASS), ("receive_time_reversals", 1, FAIL),
    ("negative_latency_share", 0.0, PASS), ("negative_latency_share", 1e-6, WARN), ("negative_latency_share", 0.0099, WARN),
    ("negative_latency_share", 0.01, FAIL),
    ("exchange_time_reversals", 0, PASS), ("exchange_time_reversals", 1, WARN), ("exchange_time_reversals", 10**9, WARN),
    ("sequence_gaps", 0, PASS), ("sequence_gaps", 1, WARN),
    ("duplicates", 0, PASS), ("duplicates", 1, WARN),
    ("unknown_references", 0, PASS), ("unknown_references", 1, WARN),
    ("updates_without_book", 0, PASS), ("updates_without_book", 1, WARN),
    ("crossed_share", 0.0, PASS), ("crossed_share", 1e-6, WARN), ("crossed_share", 0.00099, WARN), ("crossed_share", 0.001, FAIL),
    ("locked_share", 0.0009, PASS), ("locked_share", 0.001, WARN), ("locked_share", 1.0, WARN),
    ("trade_through_share", 0.24, PASS), ("trade_through_share", 0.25, WARN), ("trade_through_share", 0.74, WARN),
    ("trade_through_share", 0.75, FAIL),
    ("jumps", 0, PASS), ("jumps", 1, WARN),
    ("split_like_jumps", 0, PASS), ("split_like_jumps", 1, WARN),
    ("absurd_prices", 0, PASS), ("absurd_prices", 1, FAIL),
    ("inconsistent_bars", 0, PASS), ("inconsistent_bars", 1, FAIL),
    ("missing_bars_share", 0.0, PASS), ("missing_bars_share", 0.001, WARN),
    ("uncovered_share", 0.0099, PASS), ("uncovered_share", 0.01, WARN), ("uncovered_share", 1.0, WARN),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "value", "verdict"), CASES)
def test_thresholds(rule, value, verdict):
    found = judge({rule: value, "absurd_price": "row 3"})
    assert [finding.verdict for finding in found] == ([] if verdict == PASS else [verdict])
    assert worst(found) == verdict
    for finding in found:
        assert finding.to_json()["rule"] == rule
        assert finding.text


def test_every_rule_has_cases_on_both_sides_of_each_threshold():
    for rule in RULES:
        seen = {verdict for name, _, verdict in CASES if name == rule.name}
        wanted = {PASS} | ({WARN} if rule.warn is not None else set()) | ({FAIL} if rule.fail is not None else set())
        assert seen == wanted, rule.name


def test_figures_without_a_rule_and_rules_without_a_figure_say_nothing():
    assert judge({"rows": 10**9, "messages": 0}) == []
    assert worst([]) == PASS
    assert worst(judge({"crossed_share": 1.0, "jumps": 1})) == FAIL


def frame(rows, *, exch=None, by_order=False):
    """Return rows (seconds of the day, kind, side, ticks, lots[, id]); `exch` is the latency of each in seconds."""
    values = []
    for i, (second, kind, *rest) in enumerate(rows):
        local = DAY + round(second * S)
        stamp = local if exch is None else local - round(exch[i] * S)
        side, price, lots, *order = rest
        values.append((stamp, local, int(kind), side, price, lots, i, *order))
    made = frame_of("orders" if by_order else "book", values)
    ts = made["local_ts"]
    return made.with_columns(last=(ts != ts.shift(-1)).fill_null(value=True))


def book(second, bid=99, ask=101):
    return [
        (second, CLEAR, 1, 0, 0),
        (second, CLEAR, -1, 0, 0),
        (second, SNAPSHOT, 1, bid, 5),
        (second, SNAPSHOT, -1, ask, 5),
    ]


def measured(rows, venue="binance-usdm", table="book", until=None, **options):
    made = frame(rows, **options)
    built = Book(by_order=table == "orders", first_ts=int(made["local_ts"][0]))
    meter = Meter(venue, table, DAY)
    for part in (made.head(len(rows) // 2), made.slice(len(rows) // 2)):
        meter.add(part, built.apply(part) if table in {"book", "orders"} else None)
    return meter.figures(built.gaps(meter.last_ts + 1))


def test_crossed_and_locked_messages():
    figures = measured([
        *book(1), (2, DEPTH, 1, 98, 1),
        (3, DEPTH, 1, 101, 1),                       # 101 at 101
        (4, DEPTH, 1, 102, 1),                       # 102 above 101
        (5, TRADE, 1, 101, 1),                       # no message of the book
        (6, DEPTH, 1, 102, 0), (6, DEPTH, 1, 101, 0),
    ])  # fmt: skip
    assert figures["messages"] == 5
    assert (figures["crossed_share"], figures["locked_share"]) == (1 / 5, 1 / 5)
    assert figures["states"] == {"CONTINUOUS": {"crossed": 1, "locked": 1}}
    assert verdicts(figures)["crossed_share"] == FAIL


@pytest.mark.parametrize(
    ("venue", "hour", "state"),
    [
        # December: Chicago is UTC-6. The pre-open of 16:00 to 17:00 there is 22:00 to 23:00 UTC.
        ("glbx-mdp3", 22.5, "PRE_OPEN"), ("glbx-mdp3", 21.999, "CONTINUOUS"), ("glbx-mdp3", 23.0, "CONTINUOUS"),
        # New York is UTC-5: 09:30 to 16:00 is 14:30 to 21:00 UTC.
        ("nasdaq", 14.4, "EXTENDED"), ("nasdaq", 14.5, "CONTINUOUS"), ("nasdaq", 21.0, "EXTENDED"), ("nasdaq", 3, "CLOSED"),
        ("binance-usdm", 22.5, "CONTINUOUS"),
    ],
)  # fmt: skip
def test_a_crossed_book_counts_while_the_market_trades(venue, hour, state):
    start = hour * 3600
    figures = measured([*book(start), (start + 1, DEPTH, 1, 103, 1)], venue)
    assert figures["states"] == {state: {"crossed": 1}}
    assert figures["crossed_share"] == (0.5 if state == "CONTINUOUS" else 0.0)
    assert ("crossed_share" in verdicts(figures)) == (state == "CONTINUOUS")


def test_best_quotes_are_judged_by_session_too():
    rows = [(0, DAY + 81_000 * S, 99, 1, 101, 1, 0), (0, DAY + 81_001 * S, 102, 1, 101, 1, 0), (0, DAY + 81_002 * S, 0, 0, 101, 1, 0),
            (0, DAY + 81_003 * S, 101, 1, 101, 1, 0)]  # fmt: skip
    for venue, share in (("binance-usdm", 0.25), ("glbx-mdp3", 0.0)):
        meter = Meter(venue, "bbo", DAY)
        meter.add(frame_of("bbo", rows))
        figures = meter.figures()
        assert (figures["crossed_share"], figures["locked_share"]) == (share, share)


def test_latency_and_reversals():
    # Latencies of 0.5, 0.2, -0.1 and 1 s; those of the snapshot are not judged.
    rows = [*book(10), (11, DEPTH, 1, 98, 1), (12, DEPTH, 1, 98, 2), (12.1, DEPTH, 1, 98, 3), (12.2, TRADE, 1, 101, 1)]
    figures = measured(rows, exch=[500, 500, 500, 500, 0.5, 0.2, -0.1, 1.0])
    assert figures["latency_ns"] == {"min": -S // 10, "median": 350_000_000, "max": S}
    assert figures["negative_latency_share"] == 0.25
    # Exchange times are 10.5, 11.8, 12.2, 11.2.
    assert figures["exchange_time_reversals"] == 1
    assert verdicts(figures) | {"uncovered_share": WARN} == {
        "negative_latency_share": FAIL, "exchange_time_reversals": WARN, "uncovered_share": WARN,
    }  # fmt: skip


def test_times_that_the_source_does_not_know_are_not_judged():
    made = frame([*book(10), (11, DEPTH, 1, 98, 1)]).with_columns(exch_ts=pl.lit(0, pl.Int64))
    meter = Meter("binance-usdm", "book", DAY)
    meter.add(made, Book(by_order=False).apply(made))
    assert "latency_ns" not in meter.figures()
    assert "negative_latency_share" not in meter.figures()


def test_trades_outside_the_quotes_that_stood():
    figures = measured([
        *book(1), (2, TRADE, 1, 101, 1), (2.5, TRADE, -1, 99, 1), (3, TRADE, 1, 102, 1),
        (4, DEPTH, -1, 101, 0), (4, DEPTH, -1, 103, 5), (5, TRADE, 1, 102, 1), (6, TRADE, -1, 98, 1), (7, PRINT, 0, 500, 1),
    ])  # fmt: skip
    # 102 above 101, and 98 below 99: 2 of 5; the hidden print is not judged.
    assert (figures["trades"], figures["off_book_prints"], figures["trade_through_share"]) == (5, 1, 2 / 5)
    assert verdicts(figures)["trade_through_share"] == WARN


def test_gaps_and_changes_without_a_book():
    figures = measured(
        [(0, DEPTH, 1, 1, 1), *book(3600), (7200, CLEAR, 1, 0, 0), (7200, CLEAR, -1, 0, 0), (7300, DEPTH, 1, 1, 1)]
    )
    assert figures["updates_without_book"] == 2
    # Until the first snapshot, and from the message after which the clear came to the end.
    assert figures["gaps"] == [[str(DAY), str(DAY + 3600 * S)], [str(DAY + 3600 * S + 1), str(DAY + 7300 * S + 1)]]
    assert figures["uncovered_share"] == 1.0


@pytest.mark.parametrize(
    ("venue", "first_h", "last_h", "share"),
    [
        ("binance-usdm", 0, 24, 0.0),
        ("binance-usdm", 6, 24, 0.25),
        ("binance-usdm", 0, 12, 0.5),
        # The whole session of New York, 14:30 to 21:00 UTC, and half of it.
        ("nasdaq", 14.5, 21, 0.0),
        ("nasdaq", 17.75, 21, 0.5),
        # Chicago trades all day but for 22:00 to 23:00 UTC: 23 hours, of which 22 are before.
        ("glbx-mdp3", 0, 22, 1 / 23),
    ],
)
def test_coverage_of_the_session(venue, first_h, last_h, share):
    end = last_h * 3600 - 0.001
    figures = measured([*book(first_h * 3600), (end, DEPTH, 1, 98, 1)], venue)
    assert figures["uncovered_share"] == pytest.approx(share, abs=1e-9)


def test_silences_are_counted_by_length():
    seconds = [0, 0.5, 2, 13, 13, 80, 500, 5000]  # steps of 0.5, 1.5, 11, 0, 67, 420, 4500 s
    figures = measured([(s, TRADE, 1, 100, 1) for s in seconds], table="trades")
    assert figures["silences_longer_than_s"] == {"1": 5, "10": 4, "60": 3, "300": 2, "3600": 1}
    assert figures["longest_silence_s"] == 4500


@pytest.mark.parametrize(("price", "jumps"), [(104, 0), (105, 0), (106, 1), (96, 0), (95, 1)])
def test_steps_of_trades(price, jumps):
    # log(1.05) = 0.0488 and log(1.06) = 0.0583 about the limit of 0.05; log(0.95) = -0.0513, log(0.96) = -0.0408.
    figures = measured([(1, TRADE, 1, 100, 1), (2, TRADE, 1, price, 1)], table="trades")
    assert figures["jumps"] == jumps
    seen = [{"ts": str(DAY + 2 * S), "log_return": round(math.log(price / 100), 6)}] if jumps else None
    assert figures.get("jumps_seen") == seen


def test_steps_of_a_book_are_those_of_its_mid():
    # From (99 + 101) / 2 = 100 to (99 + 115) / 2 = 107: log 1.07 = 0.0677.
    figures = measured([*book(1), (2, DEPTH, -1, 101, 0), (2, DEPTH, -1, 115, 5)])
    assert figures["jumps"] == 1
    # The absence of a side is no price.
    assert measured([*book(1), (2, DEPTH, -1, 101, 0), (3, DEPTH, -1, 102, 1)])["jumps"] == 0


def bars(closes, interval_s=86_400, *, times=None, **columns):
    step = interval_s * S
    ts = [DAY + step * i for i in (times or range(len(closes)))]
    values = {"open_ticks": closes, "high_ticks": closes, "low_ticks": closes, "close_ticks": closes,
              "volume": [Decimal(1)] * len(closes), "trades": [1] * len(closes)} | columns  # fmt: skip
    made = frame_of("bars", zip(ts, *values.values(), strict=True))
    meter = Meter("us-equities" if interval_s == DAY_NS // S else "binance-usdm", f"bars_{interval_s}s", DAY)
    for i in range(0, made.height, 3):
        meter.add(made.slice(i, 3))
    return meter.figures()


def test_bars_that_contradict_themselves():
    figures = bars([100] * 4, high_ticks=[100, 99, 101, 100], low_ticks=[100, 99, 100, 101])
    # The second has its high below its close, the fourth its low above it.
    assert (figures["inconsistent_bars"], verdicts(figures)["inconsistent_bars"]) == (2, FAIL)


def test_bars_without_volume_and_without_a_volume_column_are_two_things():
    assert bars([100, 100], volume=[Decimal(0), None])["zero_volume_bars"] == 1


@pytest.mark.parametrize(
    ("after", "splits"),
    [
        (50, 1),  # 1 to 2
        (14, 1),  # 1 to 7: Apple on 2014-06-09
        (2000, 1),  # 20 to 1, reverse: AIG on 2009-07-01
        (67, 1),  # 2 to 3
        (88, 0),  # a bad day
        (230, 0),  # log 2.3 = 0.833: 0.083 from 5/2 and 0.140 from 2
    ],
)
def test_splits(after, splits):
    figures = bars([1000, 1001, 1000, 1000, 10 * after, 10 * after])
    assert (figures["split_like_jumps"], figures["jumps"]) == (splits, 1)


def test_a_step_across_a_hole_is_no_split():
    assert bars([100, 100, 50], times=[0, 1, 2304])["split_like_jumps"] == 0


def test_jumps_of_bars_are_measured_by_their_own_spread():
    wild = [100, 110, 99, 108, 98, 107, 97, 106]  # steps of about 10 % are usual here
    assert bars(wild)["jumps"] == 0
    # Steps of 0.1 %: the median is 0.001, and 15 * 1.4826 * 0.001 = 0.022 is less than the limit of 5 %.
    assert bars([1000, 1001, 1000, 1001, 1000, 1060])["jumps"] == 1
    assert bars([1000, 1001, 1000, 1001, 1000, 1040])["jumps"] == 0


@pytest.mark.parametrize(("times", "share"), [([0, 1, 2, 3, 4], 0.0), ([0, 1, 4], 2 / 5), ([0, 9], 0.8)])
def test_missing_bars(times, share):
    figures = bars([100] * len(times), 60, times=times)
    assert figures["missing_bars_share"] == pytest.approx(share)
    # Days without trading are not known to be missing.
    assert "missing_bars_share" not in bars([100] * len(times), times=times)


def test_a_ticker_has_rows_and_times_alone():
    meter = Meter("binance-usdm", "ticker", DAY)
    meter.add(pl.DataFrame({"exch_ts": [DAY], "local_ts": [DAY + DAY_MS]}))
    assert meter.figures() == {"rows": 1, "first_ts": str(DAY + DAY_MS), "last_ts": str(DAY + DAY_MS)}


def test_orders_of_a_book_by_order_count_as_messages():
    rows = [(1, ADD, 1, 99, 5, 1), (2, ADD, -1, 101, 5, 2), (3, ADD, 1, 102, 1, 3), (4, FILL, 1, 102, 1, 3)]
    figures = measured(rows, table="orders", by_order=True)
    # With one side alone there is no state: 101 x 99, then crossed, then sound.
    assert (figures["messages"], figures["crossed_share"]) == (3, 1 / 3)
