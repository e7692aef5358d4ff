"""Downloads Binance's public dumps: which files a span of days needs, resumed, verified, and renamed into place whole.

Owns addresses, checksums, retries. A file under its own name is complete and equals the published SHA-256; what is still
coming is `<name>.part`. Archives are re-issued, so that a file already here is compared with today's checksum. Knows no
content of a dump. Source: github.com/binance/binance-public-data, README.
"""

from __future__ import annotations

import calendar
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path

import httpx

from market_maker.domain.errors import DataError, InvalidRequest, NotFound, Unavailable, shorten

BASE_URL = "https://data.binance.vision"
MARKETS = {"spot": "data/spot", "um": "data/futures/um", "cm": "data/futures/cm"}
INTERVALS = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1mo")
KINDS = ("aggTrades", "trades", "bookTicker", "klines-<interval>")
DAYS_MAX = 5000
TRIES_MAX = 5
"""Tries in a row that bring no new byte of a file."""
TRIES_OF_A_FILE_MAX = 50
_FILE_BYTES_MAX = 1 << 36
_TIMEOUT = httpx.Timeout(30.0, connect=15.0)
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9_]{1,39}")
_CHECKSUM = re.compile(r"([0-9a-fA-F]{64})(\s+\*?(\S+))?\s*")
_RANGE = re.compile(r"bytes ([0-9]+)-[0-9]+/([0-9]+|\*)")

FetchProgress = Callable[[str, int, int], None]
"""Called with the name of a file, its bytes that are here, and its bytes in all (0: not said)."""


class Outcome(StrEnum):
    """What became of a file."""

    DOWNLOADED = "downloaded"
    REPLACED = "replaced"
    KEPT = "kept"
    MISSING = "missing"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Fetched:
    """One file of the archive.

    Parameters
    ----------
    kind : `trades`, `klines-1m`, ...
    first, last : the days that the file covers, both included
    url, path : where it is published, and here (nothing is put here of a missing or refused one)
    outcome : REPLACED stands for a file that was here and is published with another checksum, REFUSED for one that is
        published without a checksum or does not equal it
    size : bytes; 0 of a missing or refused one
    sha256 : as published and as found; empty of a missing or refused one
    resumed : whether a part of it was here from an earlier call, or from a transfer that was cut off
    reason : why it was refused
    """

    kind: str
    first: date
    last: date
    url: str
    path: Path
    outcome: Outcome
    size: int = 0
    sha256: str = ""
    resumed: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Wanted:
    kind: str
    first: date
    last: date
    address: str
    monthly: bool


class _Restart(Exception):
    """The bytes that are here do not continue: begin again from none."""


class _Refused(Exception):
    """What is published cannot be verified; other files may be."""


class _Again(Exception):
    """A try that failed and may be repeated, after so many seconds if the server said so."""

    def __init__(self, what: str, after_s: float = 0.0) -> None:
        super().__init__(what)
        self.after_s = after_s


def fetch_binance(
    symbol: str, kinds: Sequence[str], market: str, start: date, end: date, folder: Path, *, base_url: str = BASE_URL,
    progress: FetchProgress | None = None, done: Callable[[Fetched], None] | None = None,
    wait: Callable[[float], None] | None = None,
) -> list[Fetched]:  # fmt: skip
    """Download the public dumps of a symbol, and return what became of each file.

    Whole months are taken as monthly files (klines, trades, aggTrades), a month not yet published by its days. The files
    lie under `folder` as in the archive (`data/futures/um/daily/trades/BTCUSDT/...`), since their names do not tell markets.
    A day that is not published is reported as missing, a file that does not equal its published checksum as refused; neither
    stops the others.

    Parameters
    ----------
    symbol : as the venue writes it (BTCUSDT, BTCUSD_PERP), in any case
    kinds : of `aggTrades`, `trades`, `bookTicker` (futures), `klines-1m` and the other intervals
    market : `spot`, `um` (USD-M futures) or `cm` (COIN-M futures)
    start, end : first and last day, both included
    done : called with each file when it is clear what became of it, also when a later one raises
    wait : waits so many seconds before another try; None: sleeps

    Raises
    ------
    InvalidRequest
        An argument is wrong; nothing was asked of the server.
    NotFound
        Nothing of what was asked for is published.
    DataError
        The server is no archive of this kind, or a file cannot be written.
    Unavailable
        The server does not answer, or breaks off again and again; what has come is kept, and the next call resumes.
    """
    name = symbol.upper()
    _check(name, kinds, market, start, end)
    if not re.match(r"https?://[^/]", base_url):
        raise InvalidRequest.of("base_url", base_url, f"an address such as {BASE_URL}")
    results: list[Fetched] = []
    with httpx.Client(timeout=_TIMEOUT, follow_redirects=True, headers={"Accept-Encoding": "identity"}) as http:
        transfer = _Transfer(http, base_url.rstrip("/"), folder, progress, wait or time.sleep)
        for kind in dict.fromkeys(kinds):
            for wanted in _files(name, kind, market, start, end):
                result = transfer.fetch(wanted)
                parts: Iterable[Fetched] = [result]
                if result.outcome is Outcome.MISSING and wanted.monthly:
                    parts = map(transfer.fetch, _days(name, kind, market, wanted.first, wanted.last))
                for part in parts:
                    results.append(part)
                    if done is not None:
                        done(part)
    if all(result.outcome is Outcome.MISSING for result in results):
        raise NotFound(
            f"nothing is published of {name} ({', '.join(kinds)}; market {market}) from {start} to {end}; the first file asked"
            f" for was {results[0].url}; check the symbol, the market and the days (a day appears some hours after its end)"
        )
    return results


def _check(symbol: str, kinds: Sequence[str], market: str, start: date, end: date) -> None:
    if not _SYMBOL.fullmatch(symbol):
        raise InvalidRequest.of("symbol", symbol, "2 to 40 letters, digits and _, as BTCUSDT or BTCUSD_PERP")
    if market not in MARKETS:
        raise InvalidRequest.of("market", market, ", ".join(MARKETS))
    if not kinds:
        raise InvalidRequest.of("kinds", "", f"at least one of {', '.join(KINDS)}")
    for kind in kinds:
        name, _, interval = kind.partition("-")
        known = interval in INTERVALS if name == "klines" else kind in KINDS
        if not known:
            raise InvalidRequest.of("kinds", kind, f"{', '.join(KINDS)}, interval one of {', '.join(INTERVALS)}")
        if kind == "bookTicker" and market == "spot":
            raise InvalidRequest.of("kinds", kind, "for the markets um and cm: none is published of spot")
    if end < start:
        raise InvalidRequest.of("end", end.isoformat(), f"a day not before the start {start}")
    if (end - start).days >= DAYS_MAX:
        raise InvalidRequest.of("end", end.isoformat(), f"at most {DAYS_MAX} days from the start {start}")


def _files(symbol: str, kind: str, market: str, start: date, end: date) -> Iterator[_Wanted]:
    """Yield the files of a span in the order of time: whole months by the month, the rest by the day."""
    day = start
    while day <= end:
        month_end = day.replace(day=calendar.monthrange(day.year, day.month)[1])
        if day.day == 1 and month_end <= end and kind != "bookTicker":
            yield _Wanted(kind, day, month_end, _address(symbol, kind, market, "monthly", f"{day:%Y-%m}"), monthly=True)
        else:
            yield from _days(symbol, kind, market, day, min(month_end, end))
        day = month_end + timedelta(days=1)


def _days(symbol: str, kind: str, market: str, first: date, last: date) -> Iterator[_Wanted]:
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        yield _Wanted(kind, day, day, _address(symbol, kind, market, "daily", day.isoformat()), monthly=False)


def _address(symbol: str, kind: str, market: str, span: str, when: str) -> str:
    name, _, interval = kind.partition("-")
    if interval:
        return f"{MARKETS[market]}/{span}/klines/{symbol}/{interval}/{symbol}-{interval}-{when}.zip"
    return f"{MARKETS[market]}/{span}/{name}/{symbol}/{symbol}-{name}-{when}.zip"


class _Transfer:
    """The way of single files from the server into the folder."""

    def __init__(
        self, http: httpx.Client, base_url: str, folder: Path, progress: FetchProgress | None,
        wait: Callable[[float], None],
    ) -> None:  # fmt: skip
        self._http, self._base_url, self._folder = http, base_url, folder
        self._progress, self._wait = progress, wait

    def fetch(self, wanted: _Wanted) -> Fetched:
        """Bring one file here unless it is, and return what became of it."""
        url, path = f"{self._base_url}/{wanted.address}", self._folder / wanted.address
        try:
            published = self._published(url)
            if published is None:
                return Fetched(wanted.kind, wanted.first, wanted.last, url, path, Outcome.MISSING)
            outcome = Outcome.DOWNLOADED
            if path.is_file():
                if _sha256(path) == published:
                    size = path.stat().st_size
                    self._tell(path.name, size, size)
                    return Fetched(wanted.kind, wanted.first, wanted.last, url, path, Outcome.KEPT, size, published)
                outcome = Outcome.REPLACED
            path.parent.mkdir(parents=True, exist_ok=True)
            published, resumed = self._download(url, path, published)
            size = path.stat().st_size
        except _Refused as refusal:
            reason = str(refusal)
            return Fetched(wanted.kind, wanted.first, wanted.last, url, path, Outcome.REFUSED, reason=reason)
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error}; free space or name another folder") from error
        return Fetched(wanted.kind, wanted.first, wanted.last, url, path, outcome, size, published, resumed)

    def _published(self, url: str) -> str | None:
        """Return the published checksum of a file, None when the file is not published."""
        response = self._asked("GET", f"{url}.CHECKSUM")
        if response.status_code == httpx.codes.NOT_FOUND:
            if self._asked("HEAD", url).status_code == httpx.codes.NOT_FOUND:
                return None
            raise _Refused("published without a checksum, so that it cannot be verified; it is not downloaded")
        found = _CHECKSUM.fullmatch(response.text.strip())
        if found is None or (found[3] and found[3] != url.rpartition("/")[2]):
            raise DataError(f"{url}.CHECKSUM: {shorten(response.text)!r} is no SHA-256 of that file")
        return found[1].lower()

    def _asked(self, method: str, url: str) -> httpx.Response:
        """Return the answer to a small request, of status 200 or 404."""
        for number in range(1, TRIES_MAX + 1):
            try:
                response = self._http.request(method, url)
                _judge(response, url)
                return response
            except (httpx.RequestError, _Again) as error:
                self._pause_or_give_up(url, number, error)
        raise AssertionError

    def _download(self, url: str, path: Path, published: str) -> tuple[str, bool]:
        """Bring the file into place; return its checksum and whether any part of it was here before."""
        part = path.with_name(f"{path.name}.part")
        failures, damaged = 0, False
        for _ in range(TRIES_OF_A_FILE_MAX):
            before = part.stat().st_size if part.exists() else 0
            try:
                continued_at = self._receive(url, part, before)
            except _Restart:
                part.unlink(missing_ok=True)
                continue
            except (httpx.RequestError, _Again) as error:
                came = (part.stat().st_size if part.exists() else 0) > before
                failures = 1 if came else failures + 1
                self._pause_or_give_up(url, failures, error)
                continue
            found = _sha256(part)
            if found == published:
                part.replace(path)
                return published, continued_at > 0
            part.unlink()
            if damaged and not continued_at:
                raise _Refused(
                    f"downloaded whole twice, its SHA-256 is {found}, the published one {published}; nothing was kept; try"
                    " again later: an archive that is being re-issued does not equal its checksum for a while"
                )
            # A part of an older issue, or one damaged on the way: once more from the start, by the checksum of now.
            damaged = damaged or not continued_at
            published = self._published(url) or published
        raise Unavailable(f"{url}: broken off {TRIES_OF_A_FILE_MAX} times; call again to resume", retry_after_s=60)

    def _receive(self, url: str, part: Path, before: int) -> int:
        """Append what is missing to the part, and return where that began: 0 of a server that ignores the range."""
        headers = {"Range": f"bytes={before}-"} if before else {}
        with self._http.stream("GET", url, headers=headers) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and before:
                said = response.headers.get("Content-Range", "")
                if said == f"bytes */{before}":
                    return before
                raise _Restart
            _judge(response, url)
            if response.status_code == httpx.codes.NOT_FOUND:
                raise _Again("its checksum is published and the file is not")
            length = int(response.headers.get("Content-Length") or 0)
            if response.status_code == httpx.codes.PARTIAL_CONTENT:
                span = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
                if span is None or int(span[1]) != before:
                    raise _Restart
            else:
                before = 0
            total = before + length if length else 0
            done = before
            with part.open("r+b" if before else "wb") as out:
                out.seek(before)
                # Without a size of blocks: a transfer that breaks off leaves everything that came, not whole blocks alone.
                for block in response.iter_raw():
                    done += len(block)
                    if done > _FILE_BYTES_MAX:
                        raise DataError(f"{url}: more than {_FILE_BYTES_MAX} bytes; no dump is that large")
                    out.write(block)
                    self._tell(part.name.removesuffix(".part"), done, total)
                out.flush()
                os.fsync(out.fileno())
            return before

    def _pause_or_give_up(self, url: str, failures: int, error: Exception) -> None:
        what = shorten(str(error) or type(error).__name__)
        if failures >= TRIES_MAX:
            raise Unavailable(
                f"{url}: {TRIES_MAX} tries failed, the last one: {what}; what has come is kept, call again to resume",
                retry_after_s=60,
            ) from error
        after_s = error.after_s if isinstance(error, _Again) else 0.0
        self._wait(min(60.0, max(after_s, 0.5 * 2.0**failures)))

    def _tell(self, name: str, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(name, done, total)


def _judge(response: httpx.Response, url: str) -> None:
    """Let 200, 206 and 404 pass; say of any other answer whether to try again."""
    status = response.status_code
    if status in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT, httpx.codes.NOT_FOUND}:
        return
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= 500:
        after = response.headers.get("Retry-After", "")
        raise _Again(f"the server answers {status}", float(after) if after.isdecimal() else 0.0)
    raise DataError(f"{url}: the server answers {status} {response.reason_phrase}; check the address of the archive")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
