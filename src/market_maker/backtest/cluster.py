"""Chunks of a sweep on the workers of a Dask cluster, with the results that threads give, bit for bit.

A task carries a `Recording`, which tells where a feed lies, and configurations; never rows. Each worker process opens the
feed itself, once, and its threads share it. Owns the way to the workers, what is refused of them, and what happens when one
is lost; knows no database. The package `distributed` is needed at both ends and imported when a pool runs.

Whoever reaches a Dask scheduler can run code on it: it belongs into a trusted network.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import platformdirs

from market_maker.backtest.engine import RunProgress
from market_maker.backtest.sweep import CanceledError, Chunk, Outcome, Trial, prepare_feed, run_chunk
from market_maker.domain.errors import Conflict, DataError, InvalidRequest, MarketMakerError, Unavailable, shorten
from market_maker.market_data.replay import Feed, open_feed
from market_maker.settings import load_settings
from market_maker.storage.lake import Lake
from market_maker.storage.objects import ObjectStore
from market_maker.strategies.compilation import cache_key

CONNECT_TIMEOUT_S = 10
POLL_S = 1.0
WORKERLESS_S_MAX = 60.0
"""How long a sweep waits for workers when the last one is gone; a supervised worker is back within seconds."""
FEEDS_KEPT = 2
"""Feeds that a worker process keeps open, with what was found of their rows."""
_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Recording:
    """Where a feed lies, told so that any machine can open it.

    Parameters
    ----------
    folder : of the lake; a worker whose own setting `lake` names another one reads that
    url : of the object store that holds the lake, None when the folder does
    venue, symbol, start_ts, end_ts, allow_gaps, steps : as of `open_feed`
    """

    folder: str
    url: str | None
    venue: str
    symbol: str
    start_ts: int
    end_ts: int
    allow_gaps: bool = False
    steps: tuple[Decimal, Decimal] | None = None

    def open(self, lake: Lake) -> Feed:
        """Return the feed in a lake that holds it."""
        return open_feed(
            lake, self.venue, self.symbol, self.start_ts, self.end_ts, allow_gaps=self.allow_gaps, steps=self.steps
        )

    def lake_here(self) -> Lake:
        """Return the lake as this machine sees it; DataError when its folder is not there."""
        own = load_settings().lake
        if self.url is not None:
            return Lake(own or platformdirs.user_cache_path("market-maker") / "lake", ObjectStore(self.url))
        folder = own or Path(self.folder)
        if not folder.is_dir():
            raise DataError(
                f"the folder {folder} of the lake does not exist here; mount it, name it in MM_LAKE where the worker is"
                " started, or keep the lake in an object store (setting lake_url)"
            )
        return Lake(folder)


@dataclass(frozen=True, slots=True)
class _Task:
    """What travels to a worker; `modules` and `code` are the arguments and the result of `code_key` of the sender."""

    chunk: Chunk
    recording: Recording
    data_hash: str
    modules: tuple[str, ...]
    code: str
    columns: bool


class ClusterPool:
    """The workers of a Dask scheduler, as a `ChunkPool`.

    Parameters
    ----------
    address : of the scheduler, such as tcp://host:8786
    recording : where the workers find the feed
    columns : bring samples and fills home, too; else a trial's result is an `Outcome`
    """

    def __init__(self, address: str, recording: Recording, *, columns: bool = False) -> None:
        self._address = address
        self._recording = recording
        self._columns = columns

    def run(self, chunks: Sequence[Chunk], feed: Feed) -> Generator[list[Trial], None, None]:
        """Yield the trials of each chunk as it is done; the chunks of a lost worker run again on others.

        Raises
        ------
        InvalidRequest
            `distributed` is not installed; or as `run_chunk`.
        Conflict
            A worker runs other code.
        DataError
            A worker does not find the feed, or finds another one; or as `run_chunk`.
        Unavailable
            No scheduler answers, no worker is left, or a chunk has ended one worker after the other.
        """
        distributed = _distributed()
        sources = {strategy.kind.source.partition(":")[0] for chunk in chunks for strategy in chunk.strategies}
        modules = tuple(sorted(sources))
        code = code_key(modules)
        with _own_words():
            client = self._connect(distributed)
            try:
                self._refuse_other_code(client, modules, code)
                tasks = (
                    _Task(chunk, self._recording, feed.data_hash, modules, code, self._columns) for chunk in chunks
                )
                yield from self._collect(distributed, client, tasks)
            except (OSError, distributed.CancelledError) as error:
                cause = shorten(str(error).partition("\n")[0])
                raise Unavailable(f"the Dask scheduler at {self._address} was lost ({cause})") from error
            finally:
                client.close()

    def _connect(self, distributed: Any) -> Any:
        try:
            return distributed.Client(
                self._address, timeout=CONNECT_TIMEOUT_S, set_as_default=False, name="market-maker-sweep"
            )
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"no Dask scheduler answers at {self._address}; start one with `dask scheduler` ({error})"
            ) from error

    def _refuse_other_code(self, client: Any, modules: tuple[str, ...], code: str) -> None:
        """Raise Conflict unless every worker, and the scheduler, through which tasks pass, has this process's code."""
        answers = client.run(code_key, modules, on_error="return")
        # One that was lost while it was asked runs nothing; the scheduler does without it.
        found = {address: answer for address, answer in answers.items() if not isinstance(answer, OSError)}
        if not found:
            raise Unavailable(
                f"the Dask scheduler at {self._address} has no worker; start some with `dask worker {self._address}`"
            )
        try:
            found[f"the scheduler at {self._address}"] = client.run_on_scheduler(code_key, modules)
        except (ImportError, AttributeError) as error:
            found[f"the scheduler at {self._address}"] = error
        others = [
            f"{name} ({answer!r})" if isinstance(answer, Exception) else name
            for name, answer in sorted(found.items())
            if answer != code
        ]
        if others:
            raise Conflict(
                f"{len(others)} of {len(found)} processes of the cluster run other code than this one, so that results"
                f" could not be compared: {', '.join(others)}; install the same market-maker, strategies and libraries"
                " there, or stop them"
            )

    def _collect(self, distributed: Any, client: Any, tasks: Iterator[_Task]) -> Generator[list[Trial], None, None]:
        name = f"market-maker-{uuid4().hex}"
        waiting: dict[Any, _Task] = {}
        workers = _Workers(client, self._address)
        try:
            while True:
                # Few in advance: a chunk that waits at a worker is one that no other worker takes up.
                for task in islice(tasks, max(0, 1 + 2 * workers.threads() - len(waiting))):
                    key = f"{name}-{task.chunk.numbers[0]}"
                    waiting[client.submit(run_task, task, key=key, pure=False)] = task
                if not waiting:
                    return
                try:
                    with client.as_current():
                        finished = distributed.wait(list(waiting), timeout=POLL_S, return_when="FIRST_COMPLETED").done
                except TimeoutError:
                    continue
                for future in finished:
                    trials = _brought_home(distributed, client, workers, future, waiting[future])
                    del waiting[future]
                    yield trials
        finally:
            client.cancel(list(waiting))


class _Workers:
    """What the scheduler says of its workers; none for a while is an error."""

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self._address = address
        self._seen = time.monotonic()

    def threads(self) -> int:
        """Return how many threads all workers have together."""
        threads: int = sum(self._client.nthreads().values())
        if threads:
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > WORKERLESS_S_MAX:
            raise Unavailable(
                f"the Dask scheduler at {self._address} has had no worker for {WORKERLESS_S_MAX:.0f} s; start some with"
                f" `dask worker {self._address}`"
            )
        return threads


def _brought_home(distributed: Any, client: Any, workers: _Workers, future: Any, task: _Task) -> list[Trial]:
    """Return what a finished chunk has found; when its worker is lost on the way, another one finds it again."""
    arriving: Any = asyncio.run_coroutine_threadsafe(client.gather(future, asynchronous=True), client.loop.asyncio_loop)
    try:
        while not arriving.done():
            workers.threads()
            concurrent.futures.wait([arriving], timeout=POLL_S)
        trials: list[Trial] = arriving.result()
    except distributed.KilledWorker as error:
        raise Unavailable(
            f"a chunk of {len(task.chunk.numbers)} sets ends its workers ({error.allowed_failures + 1} so far, the last at"
            f" {error.last_worker.address}); their logs say why, memory is the usual cause"
        ) from error
    finally:
        arriving.cancel()
    return trials


def run_task(task: _Task) -> list[Trial]:
    """Run one chunk on a worker of the cluster."""
    worker = _distributed().get_worker()
    name = f"worker {worker.name} at {worker.address}"
    if code_key(task.modules) != task.code:
        raise Conflict(
            f"{name} runs other code than the sweep, so that its results could not be compared; install the same"
            " market-maker, strategies and libraries there, or stop it"
        )
    try:
        feed = _feeds.open(task.recording, task.data_hash, task.chunk)
    except MarketMakerError as error:
        error.detail = f"{name}: {error.detail}"
        error.args = (error.detail,)
        raise
    except OSError as error:
        raise Unavailable(f"{name}: {error}") from error
    trials = run_chunk(task.chunk, feed, _Wanted(worker))
    if task.columns:
        return trials
    return [Trial(trial.number, _without_columns(trial)) for trial in trials]


def _without_columns(trial: Trial) -> Outcome:
    return trial.result if isinstance(trial.result, Outcome) else Outcome.of(trial.result)


class _Wanted:
    """Ends a chunk that nobody waits for any more, because the sweep was stopped or its process is gone."""

    def __init__(self, worker: Any) -> None:
        self._tasks = worker.state.tasks
        self._key = worker.get_current_task()

    def __call__(self, _: RunProgress) -> None:
        task = self._tasks.get(self._key)
        if task is None or task.state == "cancelled":
            raise CanceledError


class _Feeds:
    """The feeds that this process has opened last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[Recording, str], Feed] = OrderedDict()

    def open(self, recording: Recording, data_hash: str, chunk: Chunk) -> Feed:
        """Return a feed, opened and prepared by the first chunk that needs it while the others wait."""
        with self._lock:
            feed = self._open.get((recording, data_hash))
            if feed is None:
                feed = recording.open(recording.lake_here())
                if feed.data_hash != data_hash:
                    raise DataError(
                        f"the recording of {recording.venue}/{recording.symbol} is not the one of the sweep (data hash"
                        f" {feed.data_hash[:16]}, there {data_hash[:16]}); let all read one lake"
                    )
                self._open[recording, data_hash] = feed
                if len(self._open) > FEEDS_KEPT:
                    self._open.popitem(last=False)
            self._open.move_to_end((recording, data_hash))
            prepare_feed([chunk], feed)
            return feed


_feeds = _Feeds()


@cache
def code_key(modules: tuple[str, ...]) -> str:
    """Return a hash of all that results depend on beside data and configuration, as this process has loaded it.

    These are the kernels with their compiler, every source of this package, the data-frame library, and the source files
    of `modules` (strategies). A missing module has a hash of its own.
    """
    digest = hashlib.sha256(f"{cache_key()};polars={version('polars')};".encode())
    files = [(path.relative_to(_PACKAGE).as_posix(), path) for path in sorted(_PACKAGE.rglob("*.py"))]
    for name, path in (*files, *((module, _source_of(module)) for module in modules)):
        content = b"" if path is None else path.read_bytes()
        digest.update(name.encode() + hashlib.sha256(content).digest())
    return digest.hexdigest()


def _source_of(module: str) -> Path | None:
    try:
        found = find_spec(module)
    except ImportError:
        return None
    return None if found is None or found.origin is None else Path(found.origin)


@contextmanager
def _own_words() -> Iterator[None]:
    """Keep the client's log out of the terminal: what it tells in pages, a sweep's error tells in one line."""
    log = logging.getLogger("distributed.client")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _distributed() -> Any:
    try:
        import distributed  # loaded by those who have a cluster
    except ImportError as error:
        raise InvalidRequest(
            "a sweep on a cluster needs the package distributed; install it here and at the workers:"
            " pip install 'market-maker[cluster]' (in a checkout: make develop)"
        ) from error
    return distributed
