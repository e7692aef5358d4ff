"""Memory and processor use of this process and of the workers it started, read when somebody asks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import NamedTuple

import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Resources(NamedTuple):
    """What this process uses.

    `rss_bytes` is resident memory; `cpu_seconds` processor time since its start; `cpu_ratio` processor time over
    elapsed time since the last sample (1 is one core); `open_files` counts files and sockets, 0 where unknown.
    """

    rss_bytes: int
    cpu_seconds: float
    cpu_ratio: float
    open_files: int
    threads: int


class ResourceCollector(Collector):
    """Samples this process on every scrape; costs about half a millisecond."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._last_cpu_s = self._cpu_seconds()
        self._last_at_s = time.monotonic()
        self._last_ratio = 0.0
        self._workers: dict[int, psutil.Process] = {}
        self._worker_cpu_s: dict[int, float] = {}
        self._ended_cpu_s = 0.0

    def watch_worker(self, pid: int) -> None:
        """Count a worker process from now on."""
        with contextlib.suppress(psutil.Error):
            self._workers[pid] = psutil.Process(pid)

    def forget_worker(self, pid: int) -> None:
        """Count a worker no more; the processor time it was last seen to have used stays in the sum."""
        self._workers.pop(pid, None)
        self._ended_cpu_s += self._worker_cpu_s.pop(pid, 0.0)

    def sample(self) -> Resources:
        """Return the present use."""
        with self._process.oneshot():
            cpu_s, at_s = self._cpu_seconds(), time.monotonic()
            if at_s - self._last_at_s >= 0.1:  # over a shorter time the clock tick of 10 ms shows
                self._last_ratio = (cpu_s - self._last_cpu_s) / (at_s - self._last_at_s)
                self._last_cpu_s, self._last_at_s = cpu_s, at_s
            open_files = 0
            with contextlib.suppress(psutil.Error, AttributeError):  # num_fds is not known on Windows
                open_files = self._process.num_fds()
            return Resources(
                rss_bytes=self._process.memory_info().rss,
                cpu_seconds=cpu_s,
                cpu_ratio=self._last_ratio,
                open_files=open_files,
                threads=self._process.num_threads(),
            )

    def collect(self) -> Iterator[Metric]:
        """Give the figures, for the registry."""
        now = self.sample()
        prefix = "market_maker_process"
        yield GaugeMetricFamily(
            f"{prefix}_resident_memory_bytes", RESOURCE_HELP["resident_memory_bytes"], now.rss_bytes
        )
        yield CounterMetricFamily(f"{prefix}_cpu_seconds", RESOURCE_HELP["cpu_seconds_total"], now.cpu_seconds)
        yield GaugeMetricFamily(f"{prefix}_cpu_ratio", RESOURCE_HELP["cpu_ratio"], now.cpu_ratio)
        yield GaugeMetricFamily(f"{prefix}_open_files", RESOURCE_HELP["open_files"], now.open_files)
        yield GaugeMetricFamily(f"{prefix}_threads", RESOURCE_HELP["threads"], now.threads)
        yield from self._of_workers()

    def _of_workers(self) -> Iterator[Metric]:
        prefix = "market_maker_workers"
        count = rss_bytes = 0
        for pid, process in list(self._workers.items()):
            with contextlib.suppress(psutil.Error):  # it may just have ended; whoever started it will say so
                times = process.cpu_times()
                self._worker_cpu_s[pid] = float(times.user + times.system)
                rss_bytes += process.memory_info().rss
                count += 1
        cpu_s = self._ended_cpu_s + sum(self._worker_cpu_s.values())
        yield GaugeMetricFamily(f"{prefix}_count", WORKER_HELP["count"], count)
        yield GaugeMetricFamily(f"{prefix}_resident_memory_bytes", WORKER_HELP["resident_memory_bytes"], rss_bytes)
        yield CounterMetricFamily(f"{prefix}_cpu_seconds", WORKER_HELP["cpu_seconds_total"], cpu_s)

    def _cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


RESOURCE_HELP = {
    "resident_memory_bytes": "Resident memory of this process (all modes that run in it).",
    "cpu_seconds_total": "Processor time used by this process, user and system.",
    "cpu_ratio": "Processor time over elapsed time between two scrapes; 1 is one core.",
    "open_files": "Open files and sockets.",
    "threads": "Threads.",
}

WORKER_HELP = {
    "count": "Worker processes of backtests that this service has started and that live.",
    "resident_memory_bytes": "Resident memory of these workers together.",
    "cpu_seconds_total": "Processor time used by these workers, those that have ended included.",
}
