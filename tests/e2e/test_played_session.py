"""A recording as the market of a session of the service: by REST, stream and command, over a kill, against a backtest."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from e2e.service_process import ServiceProcess
from e2e.test_api import StrictClient, until
from market_maker.api.schemas import PlayRecording, TradingRules
from market_maker.cli import app
from market_maker.client import Client, StreamDelta, StreamEvent
from market_maker.domain.errors import Conflict, DataError, InvalidRequest, NotFound, Unavailable
from market_maker.domain.ids import DEFAULT_PAIR_ID
from market_maker.domain.units import parse_instant

FILE = "LOBSTER_SampleFile_GOOG_2012-06-21_10.zip"
START, END = "2012-06-21T14:00:00Z", "2012-06-21T14:10:00Z"
VALUES = {"half_spread_ticks": 5, "skew_ticks_per_lot": 0.01, "order_lots": 100, "max_inventory_lots": 1000}


@pytest.fixture(scope="module")
def service(
    _migrated_template: str, _make_database: Callable[[str | None], str], sample_data: Path
) -> Iterator[ServiceProcess]:
    folder = Path(tempfile.mkdtemp(prefix="market-maker-played-"))
    (folder / "inbox").mkdir()
    shutil.copy(sample_data / "lobster" / FILE, folder / "inbox")
    environment = {"MM_BACKTEST__WORKERS": "1", "MM_SIMULATOR__EXECUTION_DELAY": "10ms"}
    process = ServiceProcess(_make_database(_migrated_template), folder, environment)
    asyncio.run(process.start())
    yield process
    process.close()
    faults = process.faults()
    shutil.rmtree(folder, ignore_errors=True)
    assert not faults


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[StrictClient]:
    with StrictClient(f"http://127.0.0.1:{service.port}") as made:
        made.asked = set()
        yield made


@pytest.fixture(scope="module")
def pair(service: ServiceProcess) -> Any:
    with StrictClient(f"http://127.0.0.1:{service.port}") as client:
        client.asked = set()
        queued = client.import_file(FILE, {"format": "lobster"})
        ended = until(lambda: (found := client.get_import(queued.import_id)).finished_ts and found, 60)
        assert ended.state == "COMPLETED", ended.error
        return next(each for each in client.get_pairs().items if each.symbol == "GOOG")


@pytest.fixture(autouse=True)
def nothing_left(service: ServiceProcess, pair: Any) -> Iterator[None]:
    """Stop what a test has left running."""
    yield
    with Client(f"http://127.0.0.1:{service.port}") as client:
        for each in client.get_sessions().items:
            if each.pair_id == pair.pair_id:
                client.change_session(each.session_id, state="STOPPED")


def recording(**changes: Any) -> PlayRecording:
    return PlayRecording(**{"start": START, "end": END, **changes})


def test_a_strategy_gets_the_orders_and_fills_of_its_backtest(client: StrictClient, pair: Any) -> None:
    account = client.add_account("rich", "1000000000 USD")
    strategy = client.add_strategy("played", "inventory_skew", pair.pair_id, VALUES)
    session = client.start_session(
        pair.pair_id, playback=recording(pace="FASTEST"), execution_delay="10ms", seed=0, state="PAUSED"
    )
    assert session.state == "PAUSED"
    assert session.playback is not None
    assert (session.playback.now, session.playback.ended) == (session.playback.first, False)
    run = client.run_strategy(strategy.strategy_id, account_id=account.account_id)
    with client.stream(["simulator.session.changed"]) as stream:
        client.change_session(session.session_id, state="RUNNING")
        told = []
        while not told or not told[-1]["ended"]:
            message = stream.receive(120)
            if isinstance(message, StreamEvent) and message.data["session_id"] == str(session.session_id):
                told.append(message.data)
    assert (told[-1]["state"], told[-1]["ended"]) == ("PAUSED", True)
    ended = client.get_session(session.session_id)
    assert ended.playback is not None
    assert (ended.state, ended.playback.ended, ended.playback.now) == ("PAUSED", True, ended.playback.last)
    live = client.get_strategy_run(run.run_id)
    backtest = client.run_backtest(
        strategy.strategy_id, START, END, entry_latency="10ms", response_latency="0s", balance="1000000000", seed=0,
        band=False,
    )  # fmt: skip
    client.wait_for_run(backtest.run_id, 120)
    result = client.get_run_result(backtest.run_id)
    summary = result["summary"]
    # What was on its way when the recording ended arrives in the backtest alone.
    assert live.orders_placed == summary["orders"] > 20
    assert live.fills == summary["fills"] > 5
    assert live.inventory == Decimal(summary["position"])
    assert live.pnl.fees == Decimal(summary["fees"])
    page = client.get_trades(account_id=account.account_id, limit=1000)
    mine = [(each.side, each.liquidity, each.price, each.amount) for each in reversed(page.items)]
    columns = (result["fills"][name] for name in ("side", "liquidity", "price", "quantity"))
    theirs = [
        (side, liquidity, Decimal(price), Decimal(lots)) for side, liquidity, price, lots in zip(*columns, strict=True)
    ]
    assert sorted(mine) == sorted(theirs)  # Of one instant they are listed in no order.
    client.change_session(session.session_id, state="STOPPED")


def test_a_kill_in_the_middle_loses_nothing(client: StrictClient, pair: Any, service: ServiceProcess) -> None:
    session = client.start_session(pair.pair_id, playback=recording(), speed=20.0, execution_delay="10ms")
    until(lambda: client.get_session(session.session_id).step > 20)
    book = client.get_order_book(pair.pair_id, depth=5)
    price = book.bids[-1].price - Decimal("0.5")
    resting = client.place_order(pair.pair_id, "BUY", 3, price, wait=True)
    taken = client.place_order(pair.pair_id, "BUY", 7, wait=True)
    assert (resting.status, taken.status) == ("NEW", "FILLED")
    levels = {each.price: each.quantity for each in client.get_order_book(pair.pair_id, depth=200).bids}
    assert levels[price] >= 3
    tape = client.get_tape(pair.pair_id, limit=1000).items
    bars = client.get_live_bars(pair.pair_id, interval="1s", limit=1000).items
    assert len(tape) > 5
    before = client.get_session(session.session_id)
    assert before.playback is not None
    service.kill()
    time.sleep(5)  # 100 s of the recording
    asyncio.run(service.start())
    with StrictClient(f"http://127.0.0.1:{service.port}") as again:
        again.asked = set()
        after = until(lambda: next((x for x in again.get_sessions().items if x.pair_id == pair.pair_id), None))
        assert after.session_id == session.session_id
        assert after.playback is not None
        now, then = (parse_instant(each.playback.now, "now") for each in (after, before))
        # It has gone on from the last commit, not from the begin, and has not jumped over the time of the kill.
        assert 0 <= now - then < 90 * 10**9
        assert again.get_order(resting.order_id).status == "NEW"
        # The tape and its candles go on, too.
        restored = {each.trade_id for each in again.get_tape(pair.pair_id, limit=1000).items}
        assert {each.trade_id for each in tape[:100]} <= restored
        kept = {each.ts: each for each in again.get_live_bars(pair.pair_id, interval="1s", limit=1000).items}
        assert all(kept[bar.ts] == bar for bar in bars[:-1])
        position = next(x for x in again.get_positions().items if x.pair_id == pair.pair_id)
        assert position.quantity == 7
        paused = again.change_session(session.session_id, state="PAUSED")
        assert paused.playback is not None
        stepped = again.change_session(session.session_id, step="2s")
        assert stepped.playback is not None
        moved = parse_instant(stepped.playback.now, "now") - parse_instant(paused.playback.now, "now")
        assert moved == 2 * 10**9
        canceled = again.cancel_order(resting.order_id)
        assert canceled.cancel_requested
        again.change_session(session.session_id, step="1s")
        assert again.get_order(resting.order_id).status == "CANCELED"
        again.change_session(session.session_id, state="STOPPED")


def restarted_without_recording(service: ServiceProcess) -> tuple[Path, Path]:
    """Kill the service and start it with the recording gone; return where that was and where it is now."""
    service.kill()
    days = service.folder / "lake" / "venue=nasdaq"
    away = days.rename(days.with_name("away"))
    asyncio.run(service.start())
    return days, away


def test_a_recording_that_is_gone_holds_up_nobody_else(
    client: StrictClient, pair: Any, service: ServiceProcess
) -> None:
    """While one market could not be restored no session was listed, and no order of pairs behind it was cancelled."""
    session = client.start_session(pair.pair_id, playback=recording(), speed=1.0)
    days, away = restarted_without_recording(service)
    with StrictClient(f"http://127.0.0.1:{service.port}") as again:
        again.asked = set()
        told = {each.pair_id: each.fault for each in again.get_sessions().items}
        assert told.keys() == {DEFAULT_PAIR_ID, pair.pair_id}
        assert told[DEFAULT_PAIR_ID] is None
        assert "cannot be played" in str(told[pair.pair_id])
        with pytest.raises(Unavailable, match="cannot be played"):
            again.change_session(session.session_id, state="PAUSED")
        order = again.place_order(DEFAULT_PAIR_ID, "BUY", "0.001", "30000", wait=True)
        with pytest.raises(Unavailable, match="cannot be played"):
            again.cancel_all_orders()
        until(lambda: again.get_order(order.order_id).status == "CANCELED")
        away.rename(days)
        until(lambda: all(each.fault is None for each in again.get_sessions().items))


def test_a_session_whose_recording_is_gone_can_be_read_and_stopped(
    client: StrictClient, pair: Any, service: ServiceProcess
) -> None:
    """It answered 503 to everything, for ever: its orders stayed open and its pair could have no other session."""
    account = client.add_account("lost", "1000000000 USD")
    strategy = client.add_strategy("lost", "inventory_skew", pair.pair_id, VALUES)
    session = client.start_session(pair.pair_id, playback=recording(), speed=1.0, execution_delay="10ms")
    run = client.run_strategy(strategy.strategy_id, account_id=account.account_id)
    resting = client.place_order(pair.pair_id, "BUY", 1, "500", account_id=account.account_id, wait=True)
    until(lambda: client.get_strategy_run(run.run_id).open_orders > 0)
    before = client.get_account(account.account_id)
    days, away = restarted_without_recording(service)
    with StrictClient(f"http://127.0.0.1:{service.port}") as again:
        again.asked = set()
        kept = again.get_session(session.session_id)
        assert "cannot be played" in str(kept.fault)
        assert (kept.state, kept.seed, kept.created_ts) == ("RUNNING", session.seed, session.created_ts)
        assert kept.open_orders == len(again.get_orders(pair_id=pair.pair_id, is_open=True).items) > 1
        assert kept.playback is not None
        assert kept.playback.last[:16] == session.playback.last[:16]
        stopped = again.change_session(session.session_id, state="STOPPED")
        assert (stopped.state, stopped.open_orders) == ("STOPPED", 0)
        ended = again.get_order(resting.order_id)
        assert (ended.status, ended.reject_reason) == ("CANCELED", "SESSION_STOPPED")
        assert again.get_strategy_run(run.run_id).state == "STOPPED"
        after = again.get_account(account.account_id)
        assert (after.initial_balance, after.account_id) == (before.initial_balance, before.account_id)
        assert session.session_id not in [each.session_id for each in again.get_sessions().items]
        with pytest.raises(NotFound):
            again.get_session(session.session_id)
        away.rename(days)
        other = again.start_session(pair.pair_id, playback=recording())
        assert other.fault is None


def test_at_the_end_it_stops_or_plays_again(client: StrictClient, pair: Any) -> None:
    short = {"end": "2012-06-21T14:00:20Z", "pace": "FASTEST"}
    session = client.start_session(pair.pair_id, playback=recording(at_end="STOP", **short))
    until(lambda: session.session_id not in [each.session_id for each in client.get_sessions().items])
    looping = client.start_session(pair.pair_id, playback=recording(at_end="LOOP", **short))

    def passes() -> int:
        found = client.get_session(looping.session_id).playback
        assert found is not None
        return found.passes

    until(lambda: passes() >= 3)
    with client.stream(["simulator.trade.#"], deltas=[pair.pair_id]) as stream:
        kinds = set()
        while not {StreamEvent, StreamDelta} <= kinds:
            kinds.add(type(stream.receive(20)))
    assert client.get_tape(pair.pair_id).items
    with pytest.raises(Conflict, match="recording"):
        client.execute_trade(pair.pair_id, "BUY", "580", 1)
    with pytest.raises(Conflict, match="recording"):
        client.change_session(looping.session_id, phase="HALTED")
    with pytest.raises(Conflict, match="recording"):
        client.change_session(looping.session_id, recording=True)
    with pytest.raises(Conflict, match="recording"):
        client.get_realism(pair.pair_id)
    with pytest.raises(InvalidRequest, match="recording"):
        client.start_scenario(looping.session_id, "flash_crash")
    client.start_scenario(looping.session_id, "partial_outage", parameters={"duration_s": 600_000})
    refused = client.place_order(pair.pair_id, "BUY", 1, "570", wait=True)
    assert (refused.status, refused.reject_reason) == ("REJECTED", "OUTAGE")
    for wrong in ({"type": "STOP", "stop_price": "600"}, {"price": "570", "display_amount": 1}):
        with pytest.raises(InvalidRequest, match="recording"):
            client.place_order(pair.pair_id, "BUY", 2, **wrong)
    client.change_session(looping.session_id, state="STOPPED")


@pytest.mark.parametrize(("wrong", "field"), [
    ({"playback": {"start": END, "end": START}}, "playback.end"),
    ({"playback": {"start": "yesterday"}}, "playback.start"),
    ({"initial_price": "5"}, "initial_price"),
    ({"mode": "CUSTOM", "parameters": {"flow": {"levels": 20}}}, "parameters"),
    ({"phase": "PRE_OPEN"}, "phase"),
    ({"rules": TradingRules(price_collar=Decimal(1))}, "rules.price_collar"),
])  # fmt: skip
def test_what_does_not_go_with_a_recording(client: StrictClient, pair: Any, wrong: dict[str, Any], field: str) -> None:
    wish = dict(wrong)
    playback = recording(**wish.pop("playback", {}))
    with pytest.raises(InvalidRequest) as caught:
        client.start_session(pair.pair_id, playback=playback, **wish)
    assert caught.value.errors[0].field == field
    assert not any(each.pair_id == pair.pair_id for each in client.get_sessions().items)


def test_what_is_not_recorded_is_refused(client: StrictClient, pair: Any) -> None:
    with pytest.raises(DataError, match="recorded"):
        client.start_session(pair.pair_id, playback=recording(start="2012-06-25", end="2012-06-26"))


def test_by_command(client: StrictClient, pair: Any, service: ServiceProcess) -> None:
    strategy = client.add_strategy("by command", "inventory_skew", pair.pair_id, VALUES)
    url = f"http://127.0.0.1:{service.port}"
    words = ["play", "nasdaq/GOOG", START, "2012-06-21T14:01:00Z", "--fastest", "--wait", "--url", url]
    done = CliRunner().invoke(app, [*words, "--at-end", "STOP", "--strategy", "by command"])
    assert done.exit_code == 0, done.output
    session_id, told = done.output.split("\n")[:2]
    run = client.get_strategy_runs(strategy_id=strategy.strategy_id).items[0]
    assert str(run.session_id) == session_id
    assert run.state == "STOPPED"
    assert told == f"by command: net {run.pnl.net:f}, {run.fills} fills, inventory {run.inventory:f}"
    listed = CliRunner().invoke(app, ["strategy", "runs", "--strategy", "by command", "--url", url])
    assert [str(run.run_id) in line for line in listed.output.splitlines()[1:]] == [True]
    unknown = CliRunner().invoke(app, [*words, "--strategy", "nobody"])
    assert unknown.exit_code != 0
    assert "nobody" in str(unknown.exception)
    assert "by command" in str(unknown.exception)
    wrong = CliRunner().invoke(app, [*words, "--at-end", "LOOP"])
    assert wrong.exit_code != 0
