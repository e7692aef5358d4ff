"""Realism of real recordings: read from the lake, against the recording's own files, scored, and by command."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from market_maker.bootstrap import open_store
from market_maker.cli_calibrate import QueueWish, run_queue_reactive
from market_maker.cli_import import run_import
from market_maker.cli_realism import Span, Synthetic, run_realism
from market_maker.domain.errors import DataError, InvalidRequest, NotFound
from market_maker.domain.units import parse_instant
from market_maker.market_data.import_queue import options_of
from market_maker.market_data.schema import EventKind
from market_maker.performance.realism.measure import measure
from market_maker.performance.realism.recorded import recorded_window, with_fills
from market_maker.performance.realism.score import compare
from market_maker.performance.realism.window import Window
from market_maker.settings import Settings, load_settings

LOBSTER = "lobster/LOBSTER_SampleFile_GOOG_2012-06-21_10.zip"
FILES = {
    LOBSTER: {},
    "equity_nbbo_ticks/bac/20131007_quote.zip": {},
    "equity_nbbo_ticks/bac/20131007_trade.zip": {},
    "binance_collector/usdm/btcusdt_20240808.gz": {"venue": "binance-usdm", "offset_negative_latency": True},
}
MIDNIGHT = parse_instant("2012-06-21T04:00:00Z", "start")  # of New York


def span(pair: str, start: str, end: str) -> Span:
    return Span(pair, parse_instant(start, "start"), parse_instant(end, "end", end_of_day=True))


GOOG = span("nasdaq/GOOG", "2012-06-21", "2012-06-21")
BAC = span("us-equities/BAC", "2013-10-07", "2013-10-07")
BTC = span("binance-usdm/BTCUSDT", "2024-08-08T23:54:16Z", "2024-08-08T23:59:59Z")


@pytest.fixture(scope="module")
def settings(
    _make_database: Callable[[str | None], str],
    _migrated_template: str,
    sample_data: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Settings:
    """Return settings of a database and a lake with four recordings."""
    folder = tmp_path_factory.mktemp("realism")
    made = load_settings(None, overrides=[f"database_url={_make_database(_migrated_template)}", f"data_dir={folder}"])
    for name, values in FILES.items():
        imported = run_import(
            made, [sample_data / name], options_of(dict(values)), together=False, again=False, report=None
        )
        assert asyncio.run(imported) == 0
    return made


def window(settings: Settings, wanted: Span) -> Window:
    async def read() -> Window:
        async with open_store(settings) as store:
            venue, _, symbol = wanted.pair.partition("/")
            pair = store.reference.find_pair(venue, symbol)
            assert pair is not None
            return await asyncio.to_thread(
                recorded_window, store.lake, pair.instrument, wanted.start_ts, wanted.end_ts, allow_gaps=True
            )

    return asyncio.run(read())


@pytest.fixture(scope="module")
def goog(settings: Settings) -> Window:
    return window(settings, GOOG)


@pytest.fixture(scope="module")
def own_files(sample_data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return messages (ns, type, order, size, price, direction) and best quotes as LOBSTER wrote them itself."""
    with zipfile.ZipFile(sample_data / LOBSTER) as archive:
        names = {kind: next(name for name in archive.namelist() if kind in name) for kind in ("message", "orderbook")}
        messages = pl.read_csv(archive.read(names["message"]), has_header=False, infer_schema_length=None)
        book = pl.read_csv(archive.read(names["orderbook"]), has_header=False)
    ns = np.round(messages.to_series(0).to_numpy() * 1e9).astype(np.int64) + MIDNIGHT
    rest = messages[:, 1:6].to_numpy()
    return np.column_stack([ns, rest]), book[:, :4].to_numpy()


def test_spread_is_that_of_lobsters_own_book(goog: Window, own_files: tuple[np.ndarray, np.ndarray]) -> None:
    messages, book = own_files
    ns, spread = messages[:, 0], (book[:, 0] - book[:, 2]) / 100  # ten-thousandths of a dollar; a tick is a cent
    durations = np.diff(np.append(ns, goog.end_ts))
    mean = (spread * durations).sum() / durations.sum()
    found = {metric.key: metric for metric in measure(goog)}
    value = found["spread"].figures["mean"].value
    assert value is not None
    assert value == pytest.approx(mean, rel=1e-4)
    # The book of each second too, at both best prices.
    at = goog.depth.ts if goog.depth is not None else np.zeros(0, np.int64)
    place = np.searchsorted(ns, at, side="right") - 1
    assert len(at) > 23_000
    assert goog.depth is not None
    same = (goog.depth.ask_lots[:, 0] == book[place, 1]) & (goog.depth.bid_lots[:, 0] == book[place, 3])
    assert same[at > ns[0]].mean() > 0.999


def test_signs_and_waits_are_those_of_lobsters_messages(goog: Window, own_files: tuple[np.ndarray, np.ndarray]) -> None:
    messages, _ = own_files
    executed = messages[messages[:, 1] == 4]  # a visible order was executed; its direction is that of the resting one
    instants, signs = executed[:, 0], -executed[:, 5]
    begins = np.append(True, (np.diff(instants) != 0) | (np.diff(signs) != 0))
    signs = signs[begins].astype(float)
    assert len(goog.market_orders.ts) == pytest.approx(len(signs), rel=0.01)
    centred = signs - signs.mean()
    found = {metric.key: metric for metric in measure(goog)}
    first = found["trade_signs"].figures["lag 1"].value
    assert first == pytest.approx((centred[1:] @ centred[:-1]) / (centred @ centred), abs=0.01)
    waits = np.diff(instants[begins])
    variation = found["market_order_waits"].figures["CV"].value
    assert variation == pytest.approx(waits.std() / waits.mean(), rel=0.02)


def test_lives_are_those_of_lobsters_messages(goog: Window, own_files: tuple[np.ndarray, np.ndarray]) -> None:
    """Orders that are added (1) and later deleted whole (3): by a loop over the messages.

    The file shows ten levels. An order that is canceled beyond them has no message; the importer takes it out when its level
    comes back into sight without it, which is some 6 % of the orders.
    """
    messages, _ = own_files
    added: dict[int, int] = {}
    waits = []
    for ns, kind, order, *_ in messages.tolist():
        if kind == 1:
            added[order] = ns
        elif kind == 3 and order in added:
            waits.append((ns - added.pop(order)) / 1e9)
    found = {metric.key: metric for metric in measure(goog)}
    cancel = found["time_to_cancel"]
    assert cancel.sample is not None
    assert len(waits) < len(cancel.sample) < 1.07 * len(waits)
    assert cancel.figures["median of those, s"].value == pytest.approx(float(np.median(waits)), rel=0.2)
    # All of those with a message are among them, to the microsecond.
    seen, counts = np.unique(np.round(10**cancel.sample * 1e6).astype(np.int64), return_counts=True)
    told, wanted = np.unique(np.round(np.array(waits) * 1e6).astype(np.int64), return_counts=True)
    place = np.searchsorted(seen, told)
    assert np.mean(counts[np.minimum(place, len(seen) - 1)] >= wanted) > 0.99


def test_a_day_of_stock_shows_the_facts(goog: Window) -> None:
    """What the literature says of stocks, wide enough for any day."""
    found = {metric.key: metric for metric in measure(goog)}

    def value(key: str, name: str) -> float:
        figure = found[key].figures[name].value
        assert figure is not None
        return figure

    assert value("returns", "kurtosis 1 s") > value("returns", "kurtosis 60 s") > 1.0
    assert 2.0 < value("tail_index", "10 s") < 5.0
    assert 0.1 < value("volatility_clustering", "exponent") < 0.6
    assert value("volume_volatility", "60 s") > 0.2
    assert value("market_order_waits", "CV") > 1.5
    assert value("trade_signs", "lag 1") > 0.3
    assert found["response_market_moving"].curve is not None
    assert (found["response_market_moving"].curve.ys > 0).all()
    assert [metric.key for metric in found.values() if not metric.is_available] == ["metaorder_impact"]


def test_scores_know_the_same_market_from_another(settings: Settings, goog: Window) -> None:
    here = measure(goog)
    same = compare(here, here)
    assert (same.mean_w1, same.mean_l1) == (0.0, 0.0)
    noon = parse_instant("2012-06-21T16:45:00Z", "start")
    halves = [
        measure(window(settings, GOOG._replace(**part))) for part in ({"end_ts": noon}, {"start_ts": noon})
    ]  # fmt: skip
    near, far = compare(*halves), compare(halves[0], measure(window(settings, BAC)))
    assert near.mean_l1 is not None
    assert far.mean_l1 is not None
    assert 0.0 < near.mean_l1 < far.mean_l1 <= 1.0
    by_key = {score.key: score for score in far.scores}
    spread = by_key["spread"].l1
    assert spread is not None
    assert spread.estimate is not None
    assert spread.estimate > 0.9  # 25 cents against one
    assert "neither limit orders nor cancels" in (by_key["limit_distance"].reason or "")


def test_orders_that_leave_in_a_trade_are_filled_where_no_row_says_so() -> None:
    rows = [
        (1, EventKind.ADD, 1, 100, 5, 7), (1, EventKind.ADD, 1, 99, 5, 8), (2, EventKind.TRADE, -1, 100, 5, 0),
        (2, EventKind.CANCEL, 1, 100, 5, 7), (2, EventKind.CANCEL, 1, 99, 5, 8), (3, EventKind.CANCEL, 1, 100, 5, 9),
    ]  # fmt: skip
    names = ("ts", "kind", "side", "price_ticks", "qty_lots", "order_id")
    frame = pl.DataFrame([(ts, int(kind), *rest) for ts, kind, *rest in rows], schema=names, orient="row")
    told = with_fills(frame)
    kinds = [EventKind.ADD, EventKind.ADD, EventKind.TRADE, EventKind.FILL, EventKind.CANCEL, EventKind.CANCEL]
    assert told["kind"].to_list() == kinds
    assert told.drop("kind").equals(frame.drop("kind"))
    assert with_fills(told).equals(told), "a source that tells its fills is believed"


def test_the_command_tells_draws_and_writes(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    json_path, plot = tmp_path / "realism.json", tmp_path / "realism.svg"
    run_realism(settings, BTC, reference=BAC, allow_gaps=True, json_path=json_path, plot=plot)
    out = capsys.readouterr().out
    assert "binance-usdm/BTCUSDT" in out
    assert "not available" in out
    assert "distance from the reference" in out
    told = json.loads(json_path.read_text("utf-8"))
    assert {metric["number"] for metric in told["market"]["metrics"]} == set(range(1, 21))
    assert 0.0 < told["scores"]["mean_l1"] <= 1.0
    assert told["market"]["events"] > 10_000
    assert plot.read_text("utf-8").startswith("<svg")
    again = tmp_path / "again.json"
    run_realism(settings, BTC, reference=BAC, allow_gaps=True, json_path=again)
    assert again.read_bytes() == json_path.read_bytes()


def test_what_cannot_be_measured_is_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"\.svg"):
        run_realism(settings, GOOG, plot=tmp_path / "realism.png")
    with pytest.raises(NotFound, match=r"no pair nasdaq/NONE; there are .*GOOG"):
        run_realism(settings, GOOG._replace(pair="nasdaq/NONE"))
    with pytest.raises(InvalidRequest, match="PAIR"):
        run_realism(settings, GOOG._replace(pair="GOOG"))
    with pytest.raises(DataError, match="no recorded events"):
        run_realism(settings, span("nasdaq/GOOG", "2012-07-21", "2012-07-21"))
    with pytest.raises(InvalidRequest, match="--json"):
        run_realism(settings, BAC, json_path=tmp_path / "nowhere" / "x.json", allow_gaps=True)


def test_a_market_fitted_to_a_recording_is_judged_against_it(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """GOOG's day: with price jumps the fitted market moves as much as it did, without them half as much."""
    parameters, judged = tmp_path / "goog.yaml", tmp_path / "judged.json"
    run_queue_reactive(
        settings, GOOG.pair, GOOG.start_ts, GOOG.end_ts, allow_gaps=False, wish=QueueWish(20, 1, parameters, None)
    )
    told = capsys.readouterr().out
    (row,) = (line.split() for line in told.splitlines() if line.strip().startswith("60s"))
    recorded, simulated, without = (float(value) for value in row[1:])
    assert recorded == pytest.approx(simulated, rel=0.2)
    assert without < 0.7 * recorded
    made = yaml.safe_load(parameters.read_text("utf-8"))
    assert 0.3 <= made["flow"]["theta"] <= 0.8
    assert made["reference"]["process"] == "CONSTANT"
    run_realism(settings, Synthetic(3_600 * 10**9, 1, parameters), reference=GOOG, json_path=judged)
    found = json.loads(judged.read_text("utf-8"))
    for window in ("market", "reference"):
        assert {each["number"] for each in found[window]["metrics"]} == set(range(1, 21))
    assert found["scores"]["mean_l1"] < 0.55
    with pytest.raises(InvalidRequest, match="custom"):
        run_realism(settings, Synthetic(10**10, 1, tmp_path / "none.yaml"))
