"""Market data for the other parts: imports, the catalogue, quality, books at an instant, and price history.

It owns which pair a stream belongs to and the order of an import's steps; the work is in `ingest`, `catalogue`, `history`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

from market_maker.domain.book import BookSnapshot
from market_maker.domain.clock import Clock
from market_maker.domain.errors import Conflict, DataError, InvalidRequest
from market_maker.domain.ids import new_id
from market_maker.domain.instrument import EXACT, ContractType, Instrument, check_terms
from market_maker.market_data import catalogue
from market_maker.market_data.books import book_at
from market_maker.market_data.history import get_historical_data
from market_maker.market_data.ingest import ImportOptions, ImportReport, Reading, SourceFile, stage
from market_maker.market_data.measured import measured_days
from market_maker.market_data.prices import Price
from market_maker.market_data.steps import Step
from market_maker.storage.database import Database
from market_maker.storage.lake import Lake, sha256_of
from market_maker.storage.reference import ReferenceData

_NO_OPTIONS = ImportOptions()
_IN_CONTRACTS = (
    "nothing says what a contract is of ({names}): money is price x contracts. `market-maker pair change {name}"
    " --contract-multiplier 50`, with its own number, says it; an import with --contract-multiplier does so at once"
)
_GUESSED = (
    "nothing says what contract it is, SPOT is taken ({names}). `market-maker pair change {name} --contract-type LINEAR`, or"
    " INVERSE, corrects it; an import with --contract-type says it at once"
)
_QUOTES = ("USDT", "USDC", "USD", "BTC", "ETH", "EUR")
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of an import.

    Parameters
    ----------
    report : as kept in the catalogue (JSON values)
    pair_ids : of the streams, in their order
    repeats : the same files had been imported in the same way: nothing was done
    told : of a repeated one, what was asked for and is otherwise
    """

    import_id: UUID
    report: dict[str, Any]
    pair_ids: tuple[UUID, ...]
    repeats: bool = False
    told: tuple[str, ...] = ()


class MarketDataService:
    """Recorded market data.

    Parameters
    ----------
    database, reference, lake, clock : shared by the process
    """

    def __init__(self, database: Database, reference: ReferenceData, lake: Lake, clock: Clock) -> None:
        self.database = database
        self.lake = lake
        self._reference = reference
        self._clock = clock

    async def import_data(
        self,
        paths: Sequence[Path],
        options: ImportOptions = _NO_OPTIONS,
        *,
        progress: Progress | None = None,
        again: bool = False,
        import_id: UUID | None = None,
    ) -> Imported:
        """Import files that belong together (mostly one) into the lake and the catalogue, whole or not at all.

        Parameters
        ----------
        progress : gets (bytes read, bytes in all)
        again : do it although the same files have been imported in the same way
        import_id : of an import that was written down before

        Raises
        ------
        DataError : the files cannot be imported as they are; names file, row and rule; nothing was imported
        Conflict : a day is there from other files
        """
        await catalogue.finish_cut_off(self.database, self.lake, self._clock.now_ns())
        reading = await asyncio.to_thread(Reading, paths, options, self.lake.root, progress)
        try:
            earlier = None if again else await self._earlier(reading)
            if earlier is not None:
                if import_id is not None:
                    await catalogue.end_as_repeated(self.database, import_id, earlier, self._clock.now_ns())
                pairs = tuple(UUID(stream["pair_id"]) for stream in earlier["report"]["streams"])
                told = await self._told_again(pairs, options)
                return Imported(import_id or earlier["import_id"], earlier["report"], pairs, repeats=True, told=told)
            return await self._import(reading, import_id)
        finally:
            await asyncio.to_thread(reading.close)

    async def _told_again(self, pair_ids: Sequence[UUID], options: ImportOptions) -> tuple[str, ...]:
        """Return which terms the user gave that the pairs of an earlier import do not have."""
        given = options.terms.given()
        pairs = [(await self._reference.pair(pair_id)).instrument for pair_id in dict.fromkeys(pair_ids)]
        return tuple(text for pair in pairs for text in _otherwise(pair, given, given))

    async def _earlier(self, reading: Reading) -> dict[str, Any] | None:
        importer = reading.importer
        key = catalogue.import_key(reading.sources, importer.NAME, importer.VERSION, reading.options.to_json())
        return await catalogue.find_completed(self.database, self.lake, key)

    async def _import(self, reading: Reading, import_id: UUID | None) -> Imported:
        await self._reference.load()
        instruments = {
            (s.stream.venue, s.stream.symbol): self._instrument(reading, s.stream.venue, s.stream.symbol)
            for s in reading.streams
        }

        def stage_all() -> ImportReport:
            for venue, symbol in instruments:
                self.lake.sweep(venue, symbol)
            try:
                return stage(reading, self.lake, lambda stream: instruments[stream.venue, stream.symbol])
            except BaseException:
                for venue, symbol in instruments:
                    self.lake.sweep(venue, symbol)
                raise

        locks = self.lake.locks(instruments)
        await asyncio.to_thread(locks.__enter__)
        try:
            # Whoever held a lock before may have died in the middle of publishing: nothing of that may be swept away.
            await self._finish_under_lock(instruments)
            report = await asyncio.to_thread(stage_all)
            report.warnings += self._guesses(reading, instruments.values())
            for instrument in instruments.values():
                report.warnings += self._changes(reading, instrument)
            await self._keep_pairs(instruments)
            chosen = await catalogue.publish_import(self.database, self.lake, report, self._clock.now_ns(), import_id)
        finally:
            locks.__exit__(None, None, None)
        pairs = tuple(stream.instrument.pair_id for stream in report.streams)
        return Imported(chosen, report.to_json(), pairs)

    async def _finish_under_lock(self, symbols: dict[tuple[str, str], Instrument]) -> None:
        """Refuse to go on while an import of the same symbols waits to be completed: its files must not be swept."""
        for row in await catalogue.publishing_imports(self.database):
            staged = {(day["venue"], day["symbol"]) for day in row["report"].get("staged", [])}
            if staged & symbols.keys():
                raise Conflict(
                    f"import {row['import_id']} of {row['source']} was cut off and is being completed; try again"
                )

    def _instrument(self, reading: Reading, venue: str, symbol: str) -> Instrument:
        """Return the pair of a symbol as it is, or as it will be made of what the files say."""
        options = reading.options
        pair = self._reference.find_pair(venue, symbol)
        streams = [s for s in reading.streams if (s.stream.venue, s.stream.symbol) == (venue, symbol)]
        if pair is not None:
            # A later file may need finer steps; what is in the lake are whole multiples of them.
            known = pair.instrument
            tick = options.tick_size or _finer(known.tick_size, [s.price_step for s in streams])
            lot = options.lot_size or _finer(known.lot_size, [s.qty_step for s in streams])
            return replace(known, tick_size=tick, lot_size=lot)
        facts = reading.facts(symbol)
        tick = (
            options.tick_size
            or _stated(facts, "tick_size")
            or min((s.price_step.size() for s in streams if s.price_step.divisor), default=Decimal(1))
        )
        lot = (
            options.lot_size
            or _stated(facts, "lot_size")
            or min((s.qty_step.size() for s in streams if s.qty_step.divisor), default=Decimal(1))
        )
        base, quote = (facts["base"], facts["quote"]) if {"base", "quote"} <= facts.keys() else split_symbol(symbol)
        for name, size in (("tick_size", tick), ("lot_size", lot)):
            if not Decimal("1e-18") <= size <= 10**9:
                raise InvalidRequest.of(name, str(size), "between 1e-18 and 1e9")
        made = Instrument(
            new_id(),
            venue,
            symbol,
            base,
            quote,
            tick,
            lot,
            **({"contract_type": ContractType.SPOT} | _terms(options, facts)),
        )
        check_terms(made)
        return made

    def _guesses(self, reading: Reading, instruments: Iterable[Instrument]) -> list[str]:
        """Return in words what of new pairs nothing says: their contract, or what a contract is of."""
        guessed, in_contracts = [], []
        for instrument in instruments:
            facts, name = reading.facts(instrument.symbol), f"{instrument.venue}/{instrument.symbol}"
            wanted = _terms(reading.options, facts)
            if self._reference.find_pair(instrument.venue, instrument.symbol) is not None:
                continue
            if "contract_type" not in wanted:
                guessed.append(name)
            if facts.get("quantity") == "contracts" and "contract_multiplier" not in wanted:
                in_contracts.append(name)
        return [
            text.format(names=", ".join(names[:20]) + (", ..." if len(names) > 20 else ""), name=names[0])
            for text, names in ((_GUESSED, guessed), (_IN_CONTRACTS, in_contracts))
            if names
        ]

    def _changes(self, reading: Reading, instrument: Instrument) -> list[str]:
        """Return in words what the files change of a pair that is there, and what they say otherwise than it is kept."""
        pair = self._reference.find_pair(instrument.venue, instrument.symbol)
        facts, name = reading.facts(instrument.symbol), f"{instrument.venue}/{instrument.symbol}"
        if pair is None:
            return []
        wanted, known = _terms(reading.options, facts), pair.instrument
        told = [
            f"the {what} of {name} is {now:f} from now on, it was {was:f}: what strategies are told in {what}s becomes as much smaller"
            for what, was, now in (
                ("tick", known.tick_size, instrument.tick_size),
                ("lot", known.lot_size, instrument.lot_size),
            )
            if was != now
        ]
        return told + _otherwise(known, reading.options.terms.given(), stated=wanted)

    async def _keep_pairs(self, instruments: dict[tuple[str, str], Instrument]) -> None:
        for (venue, symbol), instrument in instruments.items():
            pair = self._reference.find_pair(venue, symbol)
            if pair is None:
                await self._reference.add_pair(instrument, None, self._clock.now_ns())
            elif (pair.instrument.tick_size, pair.instrument.lot_size) != (instrument.tick_size, instrument.lot_size):
                await self._reference.change_steps(
                    pair.instrument.pair_id, instrument.tick_size, instrument.lot_size, self._clock.now_ns()
                )

    async def get_catalogue(self, instrument: Instrument | None = None) -> list[dict[str, Any]]:
        """Return the recorded days (of one pair) as JSON values."""
        venue = None if instrument is None else instrument.venue
        symbol = None if instrument is None else instrument.symbol
        rows = await catalogue.list_days(self.database, venue=venue, symbol=symbol)
        return [
            {
                **row,
                "day": row["day"].isoformat(),
                "import_id": str(row["import_id"]),
                "first_ts": str(row["first_ts"]),
                "last_ts": str(row["last_ts"]),
            }
            for row in rows
        ]

    async def get_quality(
        self, instrument: Instrument, first: date | None = None, last: date | None = None
    ) -> list[dict[str, Any]]:
        """Measure the recorded days of a pair anew, checksums included, and return figures and findings by day and table.

        Raises
        ------
        DataError : nothing is recorded in the range, or a file is damaged
        """
        found = await asyncio.to_thread(measured_days, self.lake, instrument, first, last)
        if not found:
            raise DataError(
                f"nothing of {instrument.venue} {instrument.symbol} is recorded in the range; import or record some"
            )
        return found

    async def get_book_at(self, instrument: Instrument, ts: int, depth: int) -> BookSnapshot:
        """Return the recorded book as it was received at an instant; see `books.book_at`."""
        return await asyncio.to_thread(book_at, self.lake, instrument, ts, depth)

    async def get_historical_data(
        self, instrument: Instrument, start_ts: int, end_ts: int, interval_ns: int
    ) -> list[Price]:
        """Return the bars of a pair in [start_ts, end_ts); see `history.get_historical_data`."""
        return await get_historical_data(self.database, self.lake, instrument, start_ts, end_ts, interval_ns)


async def sources_of(paths: Sequence[Path]) -> list[SourceFile]:
    """Return files as the catalogue keeps them."""
    return [SourceFile(p.name, await asyncio.to_thread(sha256_of, p), p.stat().st_size) for p in paths]


def coarsest(steps: Sequence[Step]) -> Decimal:
    """Return the coarsest step that all numbers of some columns fit."""
    found = [step for step in steps if step.divisor]
    if not found:
        return Decimal(1)
    return _finer(found[0].size(), found)


def _finer(known: Decimal, steps: Sequence[Step]) -> Decimal:
    """Return the coarsest step that fits both the known one and the numbers of new streams."""
    size = Fraction(known)
    for step in steps:
        if step.divisor:
            found = Fraction(step.divisor, 10**step.digits)
            size = Fraction(
                math.gcd(size.numerator * found.denominator, found.numerator * size.denominator),
                size.denominator * found.denominator,
            )
    return known if size == known else EXACT.divide(Decimal(size.numerator), Decimal(size.denominator))


def _stated(facts: dict[str, str], name: str) -> Decimal | None:
    return Decimal(facts[name]) if name in facts else None


def _terms(options: ImportOptions, facts: dict[str, str]) -> dict[str, Any]:
    """Return the terms of a new pair that the user or the files say; the user is right. InvalidRequest for what is none."""
    stated: dict[str, Any] = {}
    if "contract_type" in facts:
        if facts["contract_type"] not in list(ContractType):
            raise InvalidRequest.of("contract_type", facts["contract_type"], ", ".join(ContractType))
        stated["contract_type"] = ContractType(facts["contract_type"])
    if "multiplier" in facts:
        try:
            stated["contract_multiplier"] = Decimal(facts["multiplier"])
        except ArithmeticError:
            raise InvalidRequest.of("multiplier", facts["multiplier"], "a decimal number") from None
    return stated | options.terms.given()


def _otherwise(known: Instrument, given: dict[str, Any], stated: dict[str, Any]) -> list[str]:
    """Return in words the terms that a user gave, or files state, and that a pair which is there does not have."""
    name, told = f"{known.venue}/{known.symbol}", []
    for term, value in stated.items():
        if (kept := getattr(known, term)) != value:
            who = "you say" if term in given else "the file says"
            shown, option = (f"{value:f}" if isinstance(value, Decimal) else str(value)), term.replace("_", "-")
            told.append(
                f"{who} that {term} of {name} is {shown}, the pair is kept with {kept}: `market-maker pair change {name}"
                f" --{option} {shown}` changes it"
            )
    return told


def split_symbol(symbol: str) -> tuple[str, str]:
    """Return base and quote of a symbol such as BTCUSDT; a quote that is not known is the last three letters."""
    for separator in ("-", "_", "."):
        base, found, quote = symbol.partition(separator)
        if found and base and quote and separator not in quote and quote in _QUOTES:
            return base, quote
    for quote in _QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol.removesuffix(quote), quote
    return symbol, "USD"
