"""One file per source format: the contract of importers and the detection of a format by content.

An importer is a module, listed in `importers()`, that offers:

`NAME`, `VERSION` (text; kept with what it imported), `recognises(head: bytes) -> bool` (the first decompressed bytes),
`inspect(path) -> FileFacts`, and `read(path, instrument, assembly, offset_ns, progress) -> Counter[str]`, which
streams the file into an `Assembly` in order of receive time, adds `offset_ns` to every receive time, and raises
DataError naming file and row. It returns its counts and must not publish.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.market_data.assembly import Assembly

HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Latency:
    """Feed latency over a file, ns: receive time less exchange time of every message that has both."""

    messages: int
    negative: int
    minimum_ns: int
    median_ns: int
    maximum_ns: int
    backward_exchange_times: int

    @property
    def negative_share(self) -> float:
        """Share of messages received before they were sent."""
        return self.negative / self.messages if self.messages else 0.0


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file says of itself; tick and lot are the coarsest steps that every price and quantity fits."""

    format: str
    market: str
    symbol: str
    tick_size: Decimal
    lot_size: Decimal
    first_ts: int
    last_ts: int
    streams: dict[str, int]
    latency: Latency


class Importer(Protocol):
    """The contract of an importer module."""

    NAME: str
    VERSION: str

    def recognises(self, head: bytes) -> bool:
        """Return whether the content is of this format."""

    def inspect(self, path: Path) -> FileFacts:
        """Read the whole file once and return its facts."""

    def read(
        self,
        path: Path,
        instrument: Instrument,
        assembly: Assembly,
        offset_ns: int,
        progress: Callable[[int, int], None] | None,
    ) -> Counter[str]:
        """Stream the file into `assembly`."""


def importers() -> tuple[Importer, ...]:
    """Return every importer."""
    from market_maker.market_data.importers import binance_collector

    modules: tuple[ModuleType, ...] = (binance_collector,)
    return tuple(cast("Importer", module) for module in modules)


def detect(path: Path) -> Importer:
    """Return the importer that recognises the file's content; DataError when none does."""
    from market_maker.market_data.importers.lines import head_of

    head = head_of(path, HEAD_BYTES)
    for importer in importers():
        if importer.recognises(head):
            return importer
    known = ", ".join(importer.NAME for importer in importers())
    raise DataError(f"{path.name}: the content is of no known format; known: {known}")
