"""A sweep on a cluster gives what threads give, bit for bit; lost and unlike workers, and a sweep that is stopped."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
import pytest

import market_maker
from market_maker.backtest import cluster as clustering
from market_maker.backtest.cluster import ClusterPool, Recording, code_key
from market_maker.backtest.engine import RunConfig, RunResult
from market_maker.backtest.result import FillModel
from market_maker.backtest.sweep import Chunk, Outcome, Trial, grid, sweep
from market_maker.domain.errors import Conflict, DataError, InvalidRequest, Unavailable
from market_maker.domain.instrument import Instrument
from market_maker.market_data.replay import Feed
from market_maker.market_data.schema import BOOK_SCHEMA, EventKind
from market_maker.storage.lake import Lake, Table, day_of
from market_maker.storage.objects import ObjectStore
from market_maker.strategies.contract import find_strategy

FIRST_TS = 1_723_161_600_000_000_000
STEPS = (Decimal("0.1"), Decimal("0.001"))
PAIR = Instrument(UUID(int=1), "made", "A-B", "A", "B", *STEPS, maker_fee=Decimal("0.0002"))
KIND = "inventory_skew"
NEED = "needs the package distributed: make develop installs it"


def made_book(steps: int) -> pl.DataFrame:
    """Return a book of 20 levels a side and a spread of 2 ticks whose mid wanders; each step ends with a trade at a best."""
    chance = np.random.default_rng(5)
    bid, rows = 1000, []
    rows += [(EventKind.DEPTH, 1, bid - i, 50) for i in range(20)]
    rows += [(EventKind.DEPTH, -1, bid + 2 + i, 50) for i in range(20)]
    for up, side, lots in zip(
        chance.random(steps) < 0.5, chance.choice([-1, 1], steps), chance.integers(1, 60, steps), strict=True
    ):
        if up:
            rows += [(EventKind.DEPTH, -1, bid + 2, 0), (EventKind.DEPTH, 1, bid + 1, 50)]
            rows += [(EventKind.DEPTH, -1, bid + 22, 50), (EventKind.DEPTH, 1, bid - 19, 0)]
        else:
            rows += [(EventKind.DEPTH, 1, bid, 0), (EventKind.DEPTH, -1, bid + 1, 50)]
            rows += [(EventKind.DEPTH, 1, bid - 20, 50), (EventKind.DEPTH, -1, bid + 21, 0)]
        bid += 1 if up else -1
        rows.append((EventKind.TRADE, side, bid + 2 if side > 0 else bid, lots))
    kind, side, price, lots = zip(*rows, strict=True)
    exch_ts = FIRST_TS + 10_000_000 * np.arange(len(rows))
    columns = (exch_ts, exch_ts + 500_000, kind, side, price, lots, np.arange(len(rows)))
    return pl.DataFrame(dict(zip(BOOK_SCHEMA, columns, strict=True)), schema=BOOK_SCHEMA)


def published(lake: Lake, steps: int) -> Recording:
    frame = made_book(steps)
    lake.publish(
        lake.stage(
            venue=PAIR.venue, symbol=PAIR.symbol, day=day_of(FIRST_TS), tick_size=STEPS[0], lot_size=STEPS[1],
            tables={"book": Table(frame)},
        )
    )  # fmt: skip
    end_ts = int(frame["local_ts"][-1]) + 1
    return Recording(str(lake.root), None, PAIR.venue, PAIR.symbol, FIRST_TS, end_ts, steps=STEPS)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return published(Lake(tmp_path_factory.mktemp("cluster") / "lake"), 8_000)


@pytest.fixture(scope="module")
def feed(recording: Recording) -> Feed:
    return recording.open(Lake(Path(recording.folder)))


@pytest.fixture
def configs(feed: Feed) -> list[RunConfig]:
    base = RunConfig(
        PAIR, KIND, feed.start_ts, feed.end_ts, {"interval_ns": 100_000_000}, 10**7, 10**7, Decimal(10**6),
        FillModel.PARTIAL,
    )  # fmt: skip
    return grid(base, {"half_spread_ticks": [0.5, 1, 1.5, 2], "order_lots": [1, 5, 10], "skew_ticks_per_lot": [0, 0.1]})


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Yield a cluster of two worker processes; a worker that dies is started again."""
    with local_cluster(n_workers=2) as made:
        yield made


def local_cluster(**options: Any) -> Any:
    distributed = pytest.importorskip("distributed", reason=NEED)
    return distributed.LocalCluster(threads_per_worker=1, dashboard_address=":0", host="127.0.0.1", **options)


def client_of(address: str) -> Any:
    return pytest.importorskip("distributed", reason=NEED).Client(address, set_as_default=False)


def in_order(trials: Any) -> list[Trial]:
    return sorted(trials, key=lambda trial: trial.number)


def by_threads(configs: list[RunConfig], feed: Feed) -> list[Trial]:
    found = in_order(sweep(configs, feed, threads=2, chunk=7))
    assert sum(trial.result.summary.fills for trial in found) > 100 * len(configs), "the feed must mean something"
    return found


def assert_same(found: list[Trial], expected: list[Trial]) -> None:
    assert [trial.number for trial in found] == [trial.number for trial in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.result.digest() == other.result.digest()
        assert one.result.summary == other.result.summary
        assert one.result.reproducibility == other.result.reproducibility


def test_results_are_those_of_threads_and_come_without_columns(
    cluster: Any, recording: Recording, feed: Feed, configs: list[RunConfig]
) -> None:
    seen: list[Any] = []
    pool = ClusterPool(cluster.scheduler_address, recording)
    found = in_order(sweep(configs, feed, seen.append, chunk=5, pool=pool))
    assert_same(found, by_threads(configs, feed))
    assert {type(trial.result) for trial in found} == {Outcome}
    # 24 sets in 5 equal parts: 4 or 5 sets each.
    assert len(seen) == 5
    assert (seen[-1].done, seen[-1].total, seen[-1].left_s) == (24, 24, 0)


def test_columns_come_where_they_are_asked_for(
    cluster: Any, recording: Recording, feed: Feed, configs: list[RunConfig]
) -> None:
    pool = ClusterPool(cluster.scheduler_address, recording, columns=True)
    found = in_order(sweep(configs[:4], feed, pool=pool))
    for one, other in zip(found, by_threads(configs[:4], feed), strict=True):
        assert isinstance(one.result, RunResult)
        assert isinstance(other.result, RunResult)
        assert one.result.fills.equals(other.result.fills)
        assert one.result.samples.equals(other.result.samples)


def test_a_worker_that_is_killed_changes_nothing(
    cluster: Any, recording: Recording, feed: Feed, configs: list[RunConfig]
) -> None:
    with client_of(cluster.scheduler_address) as client:
        before = client.run(os.getpid)
        trials = iter(sweep(configs, feed, chunk=1, pool=ClusterPool(cluster.scheduler_address, recording)))
        found = [next(trials)]
        os.kill(next(iter(before.values())), signal.SIGKILL)
        found += trials
        assert_same(in_order(found), by_threads(configs, feed))
        client.wait_for_workers(2, timeout=30)
        assert set(client.run(os.getpid).values()) != set(before.values())


def test_a_set_at_fault_is_named_as_by_threads(
    cluster: Any, recording: Recording, feed: Feed, configs: list[RunConfig]
) -> None:
    wrong = [*configs[:3], replace(configs[3], sample_interval_ns=1), *configs[4:]]
    texts = []
    for pool in (None, ClusterPool(cluster.scheduler_address, recording)):
        with pytest.raises(InvalidRequest, match="sample_interval_ns: 1 is not allowed") as raised:
            list(sweep(wrong, feed, chunk=5, pool=pool))
        texts.append((raised.value.detail, raised.value.errors))
    assert texts[0] == texts[1]


def until(client: Any, address: str, wanted: Any) -> None:
    """Wait until a worker's number of running tasks is as wanted."""
    for _ in range(300):
        if wanted(len(client.run(lambda dask_worker: list(dask_worker.active_threads), workers=[address])[address])):
            return
        time.sleep(0.05)
    raise AssertionError("the worker did not get there")


def test_a_chunk_that_nobody_waits_for_ends(cluster: Any) -> None:
    def run_until_unwanted() -> None:
        from distributed import get_worker

        from market_maker.backtest.cluster import _Wanted

        progress = _Wanted(get_worker())
        while True:
            time.sleep(0.01)
            progress(None)  # type: ignore[arg-type]

    with client_of(cluster.scheduler_address) as watcher:
        address = next(iter(watcher.nthreads()))
        client = client_of(cluster.scheduler_address)
        canceled = client.submit(run_until_unwanted, workers=[address], pure=False)
        until(watcher, address, lambda running: running == 1)
        canceled.cancel()
        until(watcher, address, lambda running: running == 0)
        left = client.submit(run_until_unwanted, workers=[address], pure=False)
        until(watcher, address, lambda running: running == 1)
        client.close()
        until(watcher, address, lambda running: running == 0)
        assert left.status != "finished"


def test_a_sweep_that_is_closed_leaves_nothing_behind(
    cluster: Any, recording: Recording, feed: Feed, configs: list[RunConfig]
) -> None:
    trials: Any = sweep(configs, feed, chunk=1, pool=ClusterPool(cluster.scheduler_address, recording))
    next(trials)
    trials.close()
    with client_of(cluster.scheduler_address) as client:
        for address in client.nthreads():
            until(client, address, lambda running: running == 0)
        assert client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks)) == []
        assert [name for name in client.run_on_scheduler(
            lambda dask_scheduler: [other.client_key for other in dask_scheduler.clients.values()]
        ) if "market-maker" in name] == []  # fmt: skip


def task_of(recording: Recording, feed: Feed, configs: list[RunConfig], changes: dict[str, Any] | None = None) -> Any:
    strategies = [find_strategy(config.strategy_kind).prepare(config.parameters) for config in configs]
    chunk = Chunk(range(len(configs)), configs, strategies)
    modules = ("market_maker.strategies.inventory_skew",)
    task = clustering._Task(chunk, recording, feed.data_hash, modules, code_key(modules), columns=False)
    return replace(task, **(changes or {}))


def test_a_task_is_small(recording: Recording, feed: Feed, configs: list[RunConfig]) -> None:
    # 24 sets over 40,040 rows; a row of the feed takes 33 bytes.
    assert feed.events == 40 + 5 * 8_000
    assert len(pickle.dumps(task_of(recording, feed, configs))) < 24 * 500


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"code": "0" * 64}, Conflict, r"worker \S+ at tcp://127.0.0.1:\d+ runs other code than the sweep"),
        ({"data_hash": "f" * 64}, DataError, r"worker \S+ at tcp://\S+: the recording of made/A-B is not the one"),
        ({"recording": Recording("/nowhere", None, "made", "A-B", 1, 2)}, DataError,
         r"worker \S+ at tcp://\S+: the folder /nowhere of the lake does not exist here; mount it"),
    ],
)  # fmt: skip
def test_a_worker_that_cannot_do_the_same_is_named(
    cluster: Any,
    recording: Recording,
    feed: Feed,
    configs: list[RunConfig],
    changes: dict[str, Any],
    error: Any,
    text: str,
) -> None:
    with client_of(cluster.scheduler_address) as client:
        future = client.submit(clustering.run_task, task_of(recording, feed, configs[:1], changes), pure=False)
        with pytest.raises(error, match=text):
            future.result()


def test_a_worker_that_cannot_write_the_prepared_form_is_named(
    cluster: Any, recording: Recording, feed: Feed, configs: list[RunConfig], tmp_path: Path
) -> None:
    shutil.copytree(recording.folder, tmp_path / "lake", ignore=shutil.ignore_patterns(".prepared"))
    (tmp_path / "lake" / ".prepared").touch()
    changes = {"recording": replace(recording, folder=str(tmp_path / "lake"))}
    with client_of(cluster.scheduler_address) as client:
        future = client.submit(clustering.run_task, task_of(recording, feed, configs[:1], changes), pure=False)
        with pytest.raises(Unavailable, match=r"worker \S+ at tcp://\S+: .*\.prepared"):
            future.result()


def test_workers_with_other_code_are_refused_by_name(
    cluster: Any, recording: Recording, feed: Feed, configs: list[RunConfig], tmp_path: Path
) -> None:
    shutil.copytree(
        Path(market_maker.__file__).parent, tmp_path / "market_maker", ignore=shutil.ignore_patterns("__pycache__")
    )
    changed = tmp_path / "market_maker" / "backtest" / "kernel.py"
    changed.write_text(changed.read_text("utf-8") + "# other\n", "utf-8")
    with client_of(cluster.scheduler_address) as client, outside_worker(cluster, tmp_path, tmp_path):
        client.wait_for_workers(3, timeout=60)
        [address] = set(client.nthreads()) - {worker.worker_address for worker in cluster.workers.values()}
        pool = ClusterPool(cluster.scheduler_address, recording)
        with pytest.raises(
            Conflict, match=f"1 of 4 processes of the cluster run other code .*: {address}; install the same"
        ):
            list(sweep(configs, feed, pool=pool))


class outside_worker:  # noqa: N801  (used as a function)
    """A worker process that imports the package from another folder."""

    def __init__(self, cluster: Any, package: Path, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dask", "worker", cluster.scheduler_address, "--no-nanny", "--no-dashboard",
             "--local-directory", str(folder)],
            env=os.environ | {"PYTHONPATH": str(package)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)


def test_no_scheduler_no_worker_no_package(
    recording: Recording, feed: Feed, configs: list[RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clustering, "CONNECT_TIMEOUT_S", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    pytest.importorskip("distributed", reason=NEED)
    with pytest.raises(Unavailable, match=f"no Dask scheduler answers at {address}; start one with `dask scheduler`"):
        list(sweep(configs, feed, pool=ClusterPool(address, recording)))
    with local_cluster(n_workers=0) as empty:
        pool = ClusterPool(empty.scheduler_address, recording)
        with pytest.raises(Unavailable, match=r"has no worker; start some with `dask worker tcp://"):
            list(sweep(configs, feed, pool=pool))
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        InvalidRequest, match=r"needs the package distributed; .* pip install 'market-maker\[cluster\]'"
    ):
        list(sweep(configs, feed, pool=ClusterPool(address, recording)))


@pytest.mark.parametrize("kept", [True, False])
def test_a_sweep_ends_when_all_workers_or_the_scheduler_are_gone(
    recording: Recording, feed: Feed, configs: list[RunConfig], monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    monkeypatch.setattr(clustering, "WORKERLESS_S_MAX", 2.0)
    monkeypatch.setattr(clustering, "CONNECT_TIMEOUT_S", 1)
    with local_cluster(n_workers=1) as made:
        trials = iter(sweep(configs, feed, chunk=1, pool=ClusterPool(made.scheduler_address, recording)))
        next(trials)
        if kept:
            made.scale(0)
        else:
            made.close()
        with pytest.raises(Unavailable, match="has had no worker" if kept else "was lost"):
            list(trials)


def test_a_result_that_is_lost_on_its_way_is_not_waited_for_without_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was: when a worker died between its answer and the fetching of it, and no other came, the sweep stood still."""
    monkeypatch.setattr(clustering, "WORKERLESS_S_MAX", 1.0)
    with local_cluster(n_workers=0) as empty, client_of(empty.scheduler_address) as client:
        distributed = clustering._distributed()
        workers = clustering._Workers(client, empty.scheduler_address)
        lost = client.submit(int, pure=False)
        with pytest.raises(Unavailable, match="has had no worker for 1 s"):
            clustering._brought_home(distributed, client, workers, lost, None)  # type: ignore[arg-type]


def test_a_chunk_that_ends_its_workers_ends_the_sweep() -> None:
    dask = pytest.importorskip("dask", reason=NEED)

    def run_out_of_memory() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    chunk = Chunk(range(3), [], [])
    task = clustering._Task(chunk, Recording("", None, "", "", 0, 1), "", (), "", columns=False)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        local_cluster(n_workers=1) as made,
        client_of(made.scheduler_address) as client,
    ):
        [address] = client.nthreads()
        future = client.submit(run_out_of_memory, pure=False)
        workers = clustering._Workers(client, made.scheduler_address)
        with pytest.raises(
            Unavailable, match=rf"a chunk of 3 sets ends its workers \(1 so far, the last at {address}\)"
        ):
            clustering._brought_home(clustering._distributed(), client, workers, future, task)


def test_the_lake_is_where_the_worker_sees_it(
    recording: Recording, feed: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MM_LAKE", raising=False)
    assert recording.lake_here().root == Path(recording.folder)
    elsewhere = replace(recording, folder="/nowhere")
    with pytest.raises(DataError, match="MM_LAKE"):
        elsewhere.lake_here()
    monkeypatch.setenv("MM_LAKE", recording.folder)
    assert elsewhere.open(elsewhere.lake_here()).data_hash == feed.data_hash

    stored = published(Lake(tmp_path / "writer", ObjectStore(f"file://{tmp_path}/store")), 8_000)
    monkeypatch.delenv("MM_LAKE")
    monkeypatch.setattr(clustering.platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    fetched = replace(stored, folder="/nowhere", url=f"file://{tmp_path}/store").lake_here()
    assert fetched.root == tmp_path / "cache" / "market-maker" / "lake"
    assert stored.open(fetched).data_hash == feed.data_hash


def test_a_process_keeps_its_last_feeds_open(recording: Recording, feed: Feed, configs: list[RunConfig]) -> None:
    feeds = clustering._Feeds()
    chunk = Chunk([0], configs[:1], [find_strategy(KIND).prepare(configs[0].parameters)])
    first = feeds.open(recording, feed.data_hash, chunk)
    assert feeds.open(replace(recording), feed.data_hash, chunk) is first
    for i in range(1, clustering.FEEDS_KEPT + 1):
        feeds.open(replace(recording, end_ts=recording.end_ts - i), feed.data_hash, chunk)
    assert feeds.open(recording, feed.data_hash, chunk) is not first


def test_the_key_of_code_is_of_every_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = code_key.__wrapped__
    own = ("market_maker.strategies.inventory_skew",)
    assert key(own) == key(own)
    (tmp_path / "made_strategy.py").write_text("1\n", "utf-8")
    missing = key(("made_strategy",))
    monkeypatch.syspath_prepend(tmp_path)
    keys = [missing, key(own), key(()), key(("made_strategy",))]
    (tmp_path / "made_strategy.py").write_text("2\n", "utf-8")
    keys.append(key(("made_strategy",)))
    monkeypatch.setattr(clustering, "_PACKAGE", tmp_path)
    keys.append(key(own))
    assert len(set(keys)) == 6
