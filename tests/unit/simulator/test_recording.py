"""Recordings of a simulated market: what becomes of them when they are stopped, resumed, torn or interrupted."""

from __future__ import annotations

import random
from decimal import Decimal
from uuid import UUID

import pytest

from market_data_builders import publish
from market_maker.domain.clock import SimulatedClock
from market_maker.domain.errors import Conflict, DataError
from market_maker.domain.ids import new_id
from market_maker.domain.instrument import Instrument
from market_maker.domain.modes import TestMode as Mode
from market_maker.domain.order import Order, OrderType, Side, TimeInForce
from market_maker.market_data.replay import open_feed
from market_maker.market_data.schema import DAY_NS
from market_maker.simulator import recording
from market_maker.simulator.books import public_levels
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.simulator.recording import Recordings
from market_maker.simulator.session import Session
from market_maker.storage.lake import Lake
from market_maker.venue.funds import AccountFunds

S = 1_000_000_000
STEP = S // 10
MIDNIGHT = 19_700 * DAY_NS
NOON = MIDNIGHT + DAY_NS // 2
ACCOUNT = UUID(int=5)
PAIR = Instrument(UUID(int=1), "simulator", "A-B", "A", "B", Decimal("0.01"), Decimal("0.001"))


class Loop:
    """A pair's loop without a database: steps its market and tells the observers."""

    def __init__(self, clock, session_id=None):
        self.clock = clock
        self.instrument = PAIR
        self.observers = []
        self.funds = {ACCOUNT: AccountFunds(ACCOUNT, Decimal(10**9))}
        session = Session(
            session_id or UUID(int=2), PAIR.pair_id, Mode.NORMAL, 7, "RUNNING", 0.0005, 0, STEP, 5_000_000,
            clock.now_ns(), clock.now_ns(),
        )  # fmt: skip
        self.exchange = SimulatedExchange(PAIR, session, self.funds)

    async def committed(self):
        return self.exchange

    def run(self, seconds):
        for _ in range(int(seconds * S / STEP)):
            self.clock.advance(STEP)
            self.exchange.advance_to(self.clock.now_ns())
            self.commit()

    def commit(self):
        changes = self.exchange.take_changes()
        for observe in self.observers:
            observe(self.exchange, changes)

    def reload(self):
        """Throw the memory away and read the committed state back, as after a loss of the database."""
        before = self.exchange
        before.session.market = before.dump_state()
        self.exchange, fault = SimulatedExchange.load(
            PAIR, before.session, self.funds, checkpoint=before.market.dump(), log=[]
        )
        assert (fault, self.exchange.restore_orders(list(before.venue.orders.values()))) == ("", 0)
        self.exchange.stand_still()


class Recorder:
    """Recordings with a lake of their own and a catalogue that only counts."""

    def __init__(self, folder, monkeypatch, clock):
        self.spool, self.lake, self.clock = folder / "spool", Lake(folder / "lake"), clock
        self.saved = []
        self.failure = None

        async def save(database, lake, report, ts):
            if self.failure:
                raise self.failure
            publish(lake, report)
            self.saved.append(report)

        monkeypatch.setattr(recording, "publish_import", save)
        self.recordings = self.again()

    def again(self):
        return Recordings(None, self.lake, self.spool, self.clock)


@pytest.fixture
def clock():
    return SimulatedClock(NOON)


@pytest.fixture
def recorder(tmp_path, monkeypatch, clock):
    return Recorder(tmp_path, monkeypatch, clock)


def the_day(report):
    assert len(report.days) == 1
    return report.days[0]


async def test_two_recordings_of_a_day_are_one_day_with_a_gap(recorder, clock):
    loop = Loop(clock)
    loop.run(1)
    await recorder.recordings.start(loop)
    loop.run(3)
    first = the_day(await recorder.recordings.stop(loop))
    loop.run(20)
    await recorder.recordings.start(loop)
    begun = clock.now_ns()
    loop.run(3)
    both = the_day(await recorder.recordings.stop(loop))
    assert (both.first_ts, both.last_ts) == (first.first_ts, clock.now_ns())
    assert both.gaps == ((first.last_ts + 1, begun),)
    assert both.rows > first.rows
    feed = open_feed(recorder.lake, "simulator", "A-B", begun, clock.now_ns())
    assert feed.missing == ()
    with pytest.raises(DataError, match="missing"):
        open_feed(recorder.lake, "simulator", "A-B", first.first_ts, clock.now_ns())
    assert loop.observers == []


async def test_the_recorded_book_is_the_markets_book(recorder, clock):
    loop = Loop(clock)
    loop.run(1)
    await recorder.recordings.start(loop)
    loop.run(10)
    day = the_day(await recorder.recordings.stop(loop))
    book = {1: {}, -1: {}}
    for kind, side, price, lots in (
        recorder.lake.read("simulator", "A-B", day.day, "book").select("kind", "side", "price_ticks", "qty_lots").rows()
    ):
        if kind == 3:
            book[side].clear()
        elif kind in (1, 4):
            book[side][price] = lots
    recorded = {Side(side): {price: lots for price, lots in levels.items() if lots} for side, levels in book.items()}
    assert recorded == {side: public_levels(loop.exchange, side) for side in Side}


async def test_a_recording_survives_a_kill_with_a_torn_spool(recorder, clock):
    loop = Loop(clock)
    loop.run(1)
    await recorder.recordings.start(loop)
    started = clock.now_ns()
    loop.run(2)
    killed_at = clock.now_ns()
    path = next(recorder.spool.glob("*.spool"))
    path.write_bytes(path.read_bytes()[:-17])
    clock.advance(5 * S)
    loop.observers.clear()
    recorder.recordings.suspend()
    loop.reload()
    again = recorder.again()
    again.resume(loop)
    assert again.is_active(loop.exchange.session.session_id)
    resumed = clock.now_ns()
    loop.run(2)
    day = the_day(await again.stop(loop))
    assert (day.first_ts, day.last_ts) == (started, clock.now_ns())
    (gap,) = day.gaps
    # The gap ends when the service was back, not at the last committed instant of the market.
    assert gap[0] <= killed_at + 1
    assert gap[1] == resumed


async def test_a_market_read_back_from_the_database_is_written_whole(recorder, clock):
    loop = Loop(clock)
    loop.run(1)
    await recorder.recordings.start(loop)
    loop.run(2)
    lost_at = clock.now_ns()
    loop.reload()
    clock.advance(3 * S)
    loop.run(2)
    day = the_day(await recorder.recordings.stop(loop))
    assert day.gaps == ((lost_at + 1, lost_at + 3 * S + STEP),)
    assert day.last_ts == clock.now_ns()


async def test_a_recording_over_midnight_gives_two_days(recorder, clock):
    clock.advance(DAY_NS // 2 - 3 * S)
    loop = Loop(clock)
    await recorder.recordings.start(loop)
    loop.run(6)
    first, second = (await recorder.recordings.stop(loop)).days
    assert MIDNIGHT + DAY_NS - STEP <= first.last_ts < MIDNIGHT + DAY_NS == second.first_ts
    assert second.carried_rows > 4
    assert (first.gaps, second.gaps) == ((), ())
    # The second recording of the second day leaves the first day as it was.
    await recorder.recordings.start(loop)
    loop.run(1)
    again = (await recorder.recordings.stop(loop)).days
    assert [file.sha256 for file in again[0].files] == [file.sha256 for file in first.files]
    assert again[1].rows > second.rows


async def test_a_spool_of_yesterday_is_not_gone_on_with(recorder, clock):
    loop = Loop(clock)
    loop.run(1)
    await recorder.recordings.start(loop)
    loop.run(1)
    before = the_day(await recorder.recordings.stop(loop))
    clock.advance(DAY_NS)
    await recorder.recordings.start(loop)
    loop.run(1)
    day = the_day(await recorder.recordings.stop(loop))
    assert day.day > before.day
    assert set(recorder.lake.describe("simulator", "A-B", before.day).files) == set(before.files)


async def test_a_second_session_of_the_pair_does_not_overwrite_the_first(recorder, clock):
    loop = Loop(clock)
    loop.run(1)
    await recorder.recordings.start(loop)
    loop.run(1)
    before = the_day(await recorder.recordings.stop(loop))
    other = Loop(clock, session_id=UUID(int=3))
    other.run(1)
    await recorder.recordings.start(other)
    other.run(1)
    day = the_day(await recorder.recordings.stop(other))
    assert day.first_ts == before.first_ts
    assert len(day.gaps) == 1


async def test_a_recording_without_an_event_is_its_book_alone(recorder, clock):
    loop = Loop(clock)
    loop.run(1)
    await recorder.recordings.start(loop)
    report = await recorder.recordings.stop(loop)
    day = the_day(report)
    assert (day.first_ts, day.last_ts, day.gaps) == (clock.now_ns(), clock.now_ns(), ())
    counts = report.streams[0].counts
    assert report.rows == counts["snapshot"] + counts["clear"]


async def test_a_market_that_has_not_moved_yet_can_be_recorded(recorder, clock):
    loop = Loop(clock)
    await recorder.recordings.start(loop)
    report = await recorder.recordings.stop(loop)
    # Two clears and the levels that it opens with.
    assert report.rows == 2 + sum(len(public_levels(loop.exchange, side)) for side in Side)
    await recorder.recordings.start(loop)
    loop.run(1)
    assert the_day(await recorder.recordings.stop(loop)).file("bbo").rows > 0


async def test_starting_or_stopping_twice_is_a_conflict(recorder, clock):
    loop = Loop(clock)
    with pytest.raises(Conflict):
        await recorder.recordings.stop(loop)
    await recorder.recordings.start(loop)
    with pytest.raises(Conflict):
        await recorder.recordings.start(loop)
    await recorder.recordings.stop(loop)
    with pytest.raises(Conflict):
        await recorder.recordings.stop(loop)


async def test_a_stop_that_could_not_be_catalogued_can_be_repeated(recorder, clock):
    loop = Loop(clock)
    await recorder.recordings.start(loop)
    loop.run(1)
    recorder.failure = Conflict("no database")
    with pytest.raises(Conflict, match="no database"):
        await recorder.recordings.stop(loop)
    recorder.failure = None
    assert the_day(await recorder.recordings.stop(loop)).rows > 10
    assert len(recorder.saved) == 1


async def test_what_cannot_be_published_is_set_aside_and_the_next_recording_works(recorder, clock):
    loop = Loop(clock)
    await recorder.recordings.start(loop)
    loop.run(1)
    active = recorder.recordings._active[loop.exchange.session.session_id]
    now = clock.now_ns()
    active.recorder.record_depth(now, now, 1, 6_000_000, 1)
    with pytest.raises(DataError, match=r"crossed.*kept as .*damaged"):
        await recorder.recordings.stop(loop)
    assert len(list(recorder.spool.glob("*.damaged-*"))) == 1
    await recorder.recordings.start(loop)
    loop.run(1)
    assert the_day(await recorder.recordings.stop(loop)).gaps == ()


async def test_a_full_disk_ends_the_recording_but_not_the_market(recorder, clock, monkeypatch):
    loop = Loop(clock)
    loop.run(1)
    await recorder.recordings.start(loop)
    loop.run(1)
    session_id = loop.exchange.session.session_id
    active = recorder.recordings._active[session_id]

    flush = active.recorder.flush

    def full(sync=False):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(active.recorder, "flush", full)
    loop.run(2)
    assert "No space" in active.failure
    assert not recorder.recordings.is_active(session_id)
    assert loop.exchange.step > 30, "the market went on"
    monkeypatch.setattr(active.recorder, "flush", flush)
    assert the_day(await recorder.recordings.stop(loop)).last_ts < clock.now_ns() - S


def order_of(loop, side, price_ticks, qty_lots, probability):
    now = loop.clock.now_ns()
    position = loop.exchange.venue.position_for(ACCOUNT, None)
    return Order(
        order_id=new_id(), pair_id=PAIR.pair_id, account_id=ACCOUNT, strategy_id=None,
        position_id=position.position_id, client_order_id=None, side=side, order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC, post_only=False, price_ticks=price_ticks, qty_lots=qty_lots,
        execution_probability=probability, price_impact=0.0, created_ts=now, arrival_ts=now,
    )  # fmt: skip


async def test_orders_that_rest_crossing_for_lack_of_luck_are_no_part_of_the_public_book(recorder, clock, seed):
    chance = random.Random(seed)
    loop = Loop(clock)
    loop.run(1)
    await recorder.recordings.start(loop)
    rested_crossing = 0
    for _ in range(60):
        loop.run(0.1)
        side = chance.choice(list(Side))
        far = loop.exchange.market.book.best(Side(-side))
        probability = chance.choice([0.0, 0.1, 0.5, 1.0])
        loop.exchange.venue.accept(
            order_of(loop, side, far + side * chance.randrange(-3000, 30_000), 50, probability), ""
        )
        loop.exchange.advance_to(clock.now_ns())
        loop.commit()
        book = loop.exchange.market.book
        rested_crossing += book.best(Side.BUY) >= book.best(Side.SELL)
    assert rested_crossing > 5, "the test needs books that are crossed inside"
    report = await recorder.recordings.stop(loop)
    assert [staged.figures["crossed_share"] for staged, _ in report.streams[0].days] == [0.0]
