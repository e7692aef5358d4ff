"""Imports asked for through the API: one after the other, with progress, resumed after a stop or a crash of the service.

Owns the inbox folder and the order of work; an import itself is the service's. A wish that was answered is in the database
and comes to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from market_maker.domain.clock import Clock
from market_maker.domain.errors import InvalidRequest, MarketMakerError, Unavailable
from market_maker.domain.instrument import ContractType, Instrument, check_terms
from market_maker.market_data import catalogue
from market_maker.market_data.importers import ReadOptions, importer_named
from market_maker.market_data.ingest import ImportOptions, Repairs
from market_maker.market_data.intake import Terms
from market_maker.market_data.service import MarketDataService
from market_maker.storage.lake import check_name

PROGRESS_S = 0.5
_log = structlog.get_logger("market_data")


class ImportQueue:
    """The imports of one service.

    Parameters
    ----------
    inbox : the folder whose files may be imported
    """

    def __init__(self, market_data: MarketDataService, inbox: Path, clock: Clock) -> None:
        self._market_data, self._inbox, self._clock = market_data, inbox, clock
        self._database = market_data.database
        self._waiting: asyncio.Queue[tuple[UUID, str, dict[str, Any]]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Complete what was cut off and begin again what was not ended; then take wishes."""
        await catalogue.finish_cut_off(self._database, self._market_data.lake, self._clock.now_ns())
        for row in await catalogue.open_imports(self._database):
            self._waiting.put_nowait((row["import_id"], row["source"], row["options"]))
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Stop working; what has not ended begins again at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def add(self, name: str, options: dict[str, Any]) -> UUID:
        """Note the wish to import a file of the inbox by its name there; names that lead out of it are refused.

        `options` as `options_of` takes them.
        """
        options_of(options)
        await asyncio.to_thread(self._path, name)
        import_id = await catalogue.begin_import(self._database, name, options, self._clock.now_ns())
        self._waiting.put_nowait((import_id, name, options))
        return import_id

    def _path(self, name: str) -> Path:
        root = self._inbox.resolve()
        path = (root / name).resolve() if "\x00" not in name else root
        if root not in path.parents or not path.is_file():
            raise InvalidRequest.of("path", name, "the name of a file in the inbox folder")
        return path

    async def _work(self) -> None:
        while True:
            import_id, name, options = await self._waiting.get()
            try:
                await self._import(import_id, name, options)
            except Unavailable as error:
                _log.warning("an import waits for the database", import_id=str(import_id), reason=error.detail)
                await asyncio.sleep(1.0)
                self._waiting.put_nowait((import_id, name, options))

    async def _import(self, import_id: UUID, name: str, options: dict[str, Any]) -> None:
        done = [0, 1]

        def note(read: int, size: int) -> None:
            done[:] = read, size

        try:
            path = await asyncio.to_thread(self._path, name)
            work = asyncio.create_task(
                self._market_data.import_data([path], options_of(options), progress=note, import_id=import_id)
            )
            try:
                while not (await asyncio.wait([work], timeout=PROGRESS_S))[0]:
                    with contextlib.suppress(Unavailable):
                        percent = 95.0 * done[0] / max(done[1], 1)
                        await catalogue.note_progress(self._database, import_id, percent, self._clock.now_ns())
                await work
            finally:
                work.cancel()
        except Unavailable:
            raise
        except MarketMakerError as error:
            await catalogue.fail_import(self._database, import_id, error.detail, self._clock.now_ns())
        except Exception as error:  # noqa: BLE001  (told to the user as the import's error, and logged whole)
            _log.exception("import failed", import_id=str(import_id))
            text = f"internal fault: {type(error).__name__}: {error}"
            await catalogue.fail_import(self._database, import_id, text, self._clock.now_ns())


def options_of(values: dict[str, Any], mapping: Path | None = None) -> ImportOptions:
    """Return the options of a request (JSON values; what is missing or None is the default); InvalidRequest names the field."""
    given = {name: value for name, value in values.items() if value is not None}
    if "format" in given:
        importer_named(given["format"])
    for field in ("venue", "symbol"):
        if field in given:
            check_name(field, given[field])

    def step(name: str) -> Decimal | None:
        try:
            size = Decimal(given[name]) if name in given else None
        except ArithmeticError:
            size = Decimal("nan")
        if size is not None and not (size.is_finite() and Decimal("1e-18") <= size <= 10**9):
            raise InvalidRequest.of(name, str(given[name]), "between 1e-18 and 1e9")
        return size

    repairs = Repairs(
        offset_negative_latency=given.get("offset_negative_latency", False), offset_ns=int(given.get("offset_ns", 0)),
        sort=given.get("sort", False), drop_off_book=given.get("drop_off_book", False),
    )  # fmt: skip
    try:
        day = date.fromisoformat(given["date"]) if "date" in given else None
    except ValueError:
        raise InvalidRequest.of("date", given["date"], "a day such as 2024-08-08") from None
    read = ReadOptions(
        venue=given.get("venue"),
        symbol=given.get("symbol"),
        symbols=tuple(given.get("symbols", ())),
        date=day,
        mapping=mapping,
    )
    return ImportOptions(
        given.get("format"), read, repairs, given.get("force", False), given.get("replace", False), step("tick_size"),
        step("lot_size"), _terms(given),
    )  # fmt: skip


def _terms(given: dict[str, Any]) -> Terms:
    """Return contract and fees of a new pair; InvalidRequest names the field."""
    values: dict[str, Any] = {}
    if "contract_type" in given:
        if given["contract_type"] not in list(ContractType):
            raise InvalidRequest.of("contract_type", str(given["contract_type"]), ", ".join(ContractType))
        values["contract_type"] = ContractType(given["contract_type"])
    for name in ("contract_multiplier", "maker_fee", "taker_fee"):
        if name in given:
            try:
                values[name] = Decimal(given[name])
            except ArithmeticError:
                raise InvalidRequest.of(name, str(given[name]), "a decimal number") from None
    terms = Terms(**values)
    some = Instrument(UUID(int=0), "", "", "A", "B", Decimal(1), Decimal(1))
    check_terms(replace(some, **{name: value for name, value in terms.given().items() if name != "contract_type"}))
    return terms
