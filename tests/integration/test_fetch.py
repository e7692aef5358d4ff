"""Downloads against a server of the archive's shape that can do everything wrong."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from market_maker import cli
from market_maker.domain.errors import DataError, InvalidRequest, NotFound, Unavailable
from market_maker.market_data.fetch import Fetched, Outcome, fetch_binance

DAY = date(2024, 1, 30)
CONTENT = bytes(range(256)) * 2000  # 512,000 bytes
UM = "/data/futures/um/daily/trades/BTCUSDT/BTCUSDT-trades-{}.zip"


class Archive(ThreadingHTTPServer):
    """What is published, what happens to the next transfers, and what was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.checksums: dict[str, str] = {}
        self.cuts: list[int] = []  # bytes after which the next transfers of a file break off
        self.statuses: list[int] = []  # of the next answers, before anything else
        self.damaged = 0  # so many next transfers have a wrong byte
        self.ranges = True
        self.goes_on = threading.Event()  # a transfer that is to break off waits for it
        self.goes_on.set()
        self.asked: list[tuple[str, str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def publish(self, path: str, content: bytes = CONTENT) -> None:
        self.files[path] = content
        self.checksums[path] = f"{hashlib.sha256(content).hexdigest()}  {path.rpartition('/')[2]}\n"

    def transfers(self) -> list[tuple[str, str]]:
        """Return (path, range) of every file asked for, checksums left out."""
        return [(path, span) for method, path, span in self.asked if method == "GET" and not path.endswith(".CHECKSUM")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Archive

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        archive = self.server
        archive.asked.append((self.command, self.path, self.headers.get("Range", "")))
        if archive.statuses:
            self.reply(archive.statuses.pop(0), b"")
        elif self.path.endswith(".CHECKSUM"):
            text = archive.checksums.get(self.path.removesuffix(".CHECKSUM"))
            self.reply(404 if text is None else 200, (text or "").encode())
        elif self.path not in archive.files:
            self.reply(404, b"")
        else:
            self.send(archive.files[self.path])

    def send(self, content: bytes) -> None:
        archive = self.server
        start = 0
        span = re.fullmatch(r"bytes=([0-9]+)-", self.headers.get("Range", ""))
        if span and archive.ranges:
            start = int(span[1])
            if start >= len(content):
                self.reply(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
        body = bytearray(content[start:])
        if archive.damaged:
            archive.damaged -= 1
            body[-1] ^= 1
        more = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if span and archive.ranges else {}
        self.reply(206 if more else 200, bytes(body), more, archive.cuts.pop(0) if archive.cuts else None)

    def reply(self, status: int, body: bytes, more: dict[str, str] | None = None, cut: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True
            self.server.goes_on.wait(30)


@pytest.fixture
def archive() -> Iterator[Archive]:
    server = Archive()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(archive: Archive, folder: Path, start: date = DAY, end: date = DAY, kinds=("trades",), market="um", **more):
    more.setdefault("wait", lambda _: None)
    return fetch_binance("btcusdt", kinds, market, start, end, folder, base_url=archive.url, **more)


def test_a_file_arrives_verified_under_the_path_of_the_archive(archive: Archive, tmp_path: Path) -> None:
    archive.publish(UM.format(DAY))
    told: list[tuple[str, int, int]] = []
    [result] = fetch(archive, tmp_path, progress=lambda *news: told.append(news))
    path = tmp_path / f"data/futures/um/daily/trades/BTCUSDT/BTCUSDT-trades-{DAY}.zip"
    assert (result.outcome, result.path, result.size, result.resumed) == (Outcome.DOWNLOADED, path, 512_000, False)
    assert (result.kind, result.first, result.last) == ("trades", DAY, DAY)
    assert result.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert path.read_bytes() == CONTENT
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == [path.name], "no part stays behind"
    assert told[-1] == (path.name, 512_000, 512_000)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_what_is_here_and_right_is_not_downloaded_again(archive: Archive, tmp_path: Path) -> None:
    archive.publish(UM.format(DAY))
    fetch(archive, tmp_path)
    archive.asked.clear()
    [result] = fetch(archive, tmp_path)
    assert (result.outcome, result.size, archive.transfers()) == (Outcome.KEPT, 512_000, [])


def test_a_reissued_archive_replaces_the_file(archive: Archive, tmp_path: Path) -> None:
    archive.publish(UM.format(DAY))
    fetch(archive, tmp_path)
    archive.publish(UM.format(DAY), b"another issue")
    [result] = fetch(archive, tmp_path)
    assert (result.outcome, result.path.read_bytes()) == (Outcome.REPLACED, b"another issue")


def test_a_transfer_that_breaks_off_goes_on_where_it_ended(archive: Archive, tmp_path: Path) -> None:
    archive.publish(UM.format(DAY))
    archive.cuts = [200_000, 100_000]
    pauses: list[float] = []
    [result] = fetch(archive, tmp_path, wait=pauses.append)
    assert result.path.read_bytes() == CONTENT
    assert result.resumed
    # The first transfer gives 200,000 bytes, the second, from there, 100,000 more, the third the remaining 212,000.
    assert [span for _, span in archive.transfers()] == ["", "bytes=200000-", "bytes=300000-"]
    assert pauses == [1.0, 1.0], "each try brought something, so that the pause does not grow"


def test_a_later_call_resumes(archive: Archive, tmp_path: Path) -> None:
    archive.publish(UM.format(DAY))
    archive.cuts = [50_000, 0, 0, 0, 0]
    pauses: list[float] = []
    with pytest.raises(Unavailable, match="call again to resume"):
        fetch(archive, tmp_path, wait=pauses.append)
    # 50,000 bytes came, so that the first try counts as the first in a row; then 0.5 * 2^n seconds.
    assert pauses == [1.0, 2.0, 4.0, 8.0]
    part = tmp_path / f"data/futures/um/daily/trades/BTCUSDT/BTCUSDT-trades-{DAY}.zip.part"
    assert part.stat().st_size == 50_000
    archive.asked.clear()
    [result] = fetch(archive, tmp_path)
    assert archive.transfers()[0][1] == "bytes=50000-"
    assert (result.path.read_bytes(), result.resumed, part.exists()) == (CONTENT, True, False)


def test_a_server_without_ranges_sends_everything_again(archive: Archive, tmp_path: Path) -> None:
    archive.publish(UM.format(DAY))
    archive.ranges = False
    archive.cuts = [300_000]
    [result] = fetch(archive, tmp_path)
    assert (result.path.read_bytes(), result.resumed) == (CONTENT, False)


@pytest.mark.parametrize("size", [512_000, 600_000, 1000])
def test_a_part_that_is_whole_too_long_or_of_another_file(archive: Archive, tmp_path: Path, size: int) -> None:
    archive.publish(UM.format(DAY))
    part = tmp_path / f"data/futures/um/daily/trades/BTCUSDT/BTCUSDT-trades-{DAY}.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT if size == 512_000 else b"x" * size)
    [result] = fetch(archive, tmp_path)
    assert result.path.read_bytes() == CONTENT
    assert result.resumed == (size == 512_000), "only the whole one could be used"
    assert not part.exists()


def test_one_damaged_transfer_is_repeated(archive: Archive, tmp_path: Path) -> None:
    archive.publish(UM.format(DAY))
    archive.damaged = 1
    [result] = fetch(archive, tmp_path)
    assert (result.outcome, result.path.read_bytes()) == (Outcome.DOWNLOADED, CONTENT)


def test_a_file_that_never_equals_its_checksum_is_refused(archive: Archive, tmp_path: Path) -> None:
    archive.publish(UM.format(DAY))
    archive.checksums[UM.format(DAY)] = f"{'0' * 64}  BTCUSDT-trades-{DAY}.zip\n"
    archive.publish(UM.format("2024-01-31"))
    told: list[Fetched] = []
    results = fetch(archive, tmp_path, DAY, date(2024, 1, 31), done=told.append)
    assert told == results
    assert [result.outcome for result in results] == [Outcome.REFUSED, Outcome.DOWNLOADED], (
        "one does not stop the other"
    )
    assert f"SHA-256 is {hashlib.sha256(CONTENT).hexdigest()}, the published one {'0' * 64}" in results[0].reason
    assert (results[0].size, results[0].sha256) == (0, "")
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [results[1].path]
    assert len(archive.transfers()) == 2 + 1


@pytest.mark.parametrize("text", ["", "<html>", "abc  file.zip", f"{'0' * 64}  ETHUSDT-trades-{DAY}.zip"])
def test_a_checksum_that_is_none_is_refused(archive: Archive, tmp_path: Path, text: str) -> None:
    archive.publish(UM.format(DAY))
    archive.checksums[UM.format(DAY)] = text
    with pytest.raises(DataError, match="is no SHA-256 of that file"):
        fetch(archive, tmp_path)


def test_a_file_without_a_checksum_is_refused(archive: Archive, tmp_path: Path) -> None:
    archive.files[UM.format(DAY)] = CONTENT
    [result] = fetch(archive, tmp_path)
    assert result.outcome is Outcome.REFUSED
    assert "published without a checksum" in result.reason


def test_a_missing_day_is_reported(archive: Archive, tmp_path: Path) -> None:
    archive.publish(UM.format("2024-01-29"))
    archive.publish(UM.format("2024-01-31"))
    results = fetch(archive, tmp_path, date(2024, 1, 29), date(2024, 1, 31))
    assert [(result.first.day, result.outcome.value) for result in results] == [
        (29, "downloaded"),
        (30, "missing"),
        (31, "downloaded"),
    ]


def test_nothing_published_at_all_is_an_error(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing is published of BTCUSDT"):
        fetch(archive, tmp_path, date(2024, 1, 29), DAY)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_whole_months_come_as_months_and_unpublished_ones_by_their_days(archive: Archive, tmp_path: Path) -> None:
    spot = "/data/spot/{}/klines/BTCUSDT/1m/BTCUSDT-1m-{}.zip"
    archive.publish(spot.format("daily", "2024-01-31"))
    archive.publish(spot.format("monthly", "2024-02"))
    archive.publish(spot.format("daily", "2024-03-01"))
    archive.publish(spot.format("daily", "2024-04-01"))
    results = fetch(archive, tmp_path, date(2024, 1, 31), date(2024, 4, 1), kinds=("klines-1m",), market="spot")
    # January's one day, February as a month, the month of March asked for and not there: its 31 days, and one of April.
    assert len(results) == 1 + 1 + 31 + 1
    assert Counter(result.outcome for result in results) == {Outcome.DOWNLOADED: 4, Outcome.MISSING: 30}
    assert [(result.first, result.last) for result in results[:3]] == [
        (date(2024, 1, 31), date(2024, 1, 31)),
        (date(2024, 2, 1), date(2024, 2, 29)),
        (date(2024, 3, 1), date(2024, 3, 1)),
    ]
    asked = [path for _, path, _ in archive.asked]
    assert spot.format("monthly", "2024-03") + ".CHECKSUM" in asked
    assert not any("daily" in path and "2024-02" in path for path in asked)


def test_quotes_are_published_by_the_day(archive: Archive, tmp_path: Path) -> None:
    archive.publish("/data/futures/um/daily/bookTicker/BTCUSDT/BTCUSDT-bookTicker-2024-02-01.zip", b"q")
    results = fetch(archive, tmp_path, date(2024, 2, 1), date(2024, 2, 29), kinds=("bookTicker",))
    assert len(results) == 29


def test_busy_and_broken_servers_are_asked_again(archive: Archive, tmp_path: Path) -> None:
    archive.publish(UM.format(DAY))
    archive.statuses = [503, 429]
    pauses: list[float] = []
    [result] = fetch(archive, tmp_path, wait=pauses.append)
    assert (result.outcome, pauses) == (Outcome.DOWNLOADED, [1.0, 2.0])


def test_a_server_that_stays_broken(archive: Archive, tmp_path: Path) -> None:
    archive.statuses = [500] * 5
    with pytest.raises(Unavailable, match="5 tries failed, the last one: the server answers 500"):
        fetch(archive, tmp_path)
    archive.statuses = [403]
    with pytest.raises(DataError, match="answers 403"):
        fetch(archive, tmp_path)


def test_nobody_listens(tmp_path: Path) -> None:
    server = Archive()
    url = server.url
    server.server_close()
    with pytest.raises(Unavailable, match="5 tries failed"):
        fetch_binance("BTCUSDT", ["trades"], "um", DAY, DAY, tmp_path, base_url=url, wait=lambda _: None)


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("symbol", {"symbol": "../x"}),
        ("symbol", {"symbol": ""}),
        ("market", {"market": "margin"}),
        ("kinds", {"kinds": []}),
        ("kinds", {"kinds": ["bookDepth"]}),
        ("kinds", {"kinds": ["klines"]}),
        ("kinds", {"kinds": ["klines-7m"]}),
        ("kinds", {"kinds": ["bookTicker"], "market": "spot"}),
        ("end", {"end": date(2024, 1, 29)}),
        ("end", {"end": date(2099, 1, 1)}),
        ("base_url", {"base_url": "file:///etc"}),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_asked(tmp_path: Path, field: str, arguments: dict) -> None:
    given = {
        "symbol": "BTCUSDT", "kinds": ["trades"], "market": "um", "start": DAY, "end": DAY, "folder": tmp_path,
        "base_url": "http://127.0.0.1:9",
    } | arguments  # fmt: skip
    with pytest.raises(InvalidRequest, match=f"^{field}: "):
        fetch_binance(**given)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def command(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return what runs `market-maker fetch binance` and gives (exit code, output, errors)."""
    monkeypatch.setattr("market_maker.market_data.fetch.time.sleep", lambda _: None)

    def run(*words: str) -> tuple[int, str, str]:
        argv = ["market-maker", "fetch", "binance", *words, "--base-url", archive.url, "--folder", str(tmp_path / "f")]
        monkeypatch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


def rows_of(output: str) -> list[list[str]]:
    """The table of files: name, outcome, bytes."""
    return [re.split(r"  +", line.strip()) for line in output.splitlines() if re.match(r"\S+\.zip  ", line)]


def test_command_downloads_and_says_what_became_of_each_file(archive: Archive, tmp_path: Path, command) -> None:
    archive.publish(UM.format("2024-01-30"))
    archive.publish(UM.format("2024-01-31"), b"small")
    words = ["btcusdt", "--from", "2024-01-30", "--to", "2024-01-31", "--market", "um", "--kind", "trades"]
    code, out, err = command(*words)
    assert (code, err) == (0, "")
    assert rows_of(out) == [
        ["BTCUSDT-trades-2024-01-30.zip", "downloaded", "512,000"],
        ["BTCUSDT-trades-2024-01-31.zip", "downloaded", "5"],
    ]
    assert f"2 downloaded; 512,005 bytes in {tmp_path / 'f'}" in out
    assert f"market-maker import {tmp_path / 'f'}" in out
    path = tmp_path / "f/data/futures/um/daily/trades/BTCUSDT/BTCUSDT-trades-2024-01-30.zip"
    assert path.read_bytes() == CONTENT
    code, out, _ = command(*words)
    assert (code, [row[1] for row in rows_of(out)]) == (0, ["kept", "kept"])


def test_command_has_aggregated_trades_of_spot_and_several_kinds(archive: Archive, command) -> None:
    archive.publish("/data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2024-01-30.zip", b"a")
    archive.publish("/data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-01-30.zip", b"k")
    span = ["--from", "2024-01-30", "--to", "2024-01-30"]
    code, out, _ = command("BTCUSDT", *span)
    assert (code, [row[0] for row in rows_of(out)]) == (0, ["BTCUSDT-aggTrades-2024-01-30.zip"])
    code, out, _ = command("BTCUSDT", *span, "--kind", "aggTrades", "--kind", "klines-1m")
    assert (code, [row[1] for row in rows_of(out)]) == (0, ["kept", "downloaded"])


def test_command_resumes_what_broke_off(archive: Archive, command) -> None:
    archive.publish(UM.format(DAY))
    words = ["BTCUSDT", "--from", str(DAY), "--to", str(DAY), "--market", "um", "--kind", "trades"]
    archive.cuts = [50_000, 0, 0, 0, 0]
    code, out, err = command(*words)
    assert (code, rows_of(out)) == (2, [])
    assert err.startswith("market-maker: http://")
    assert "call again to resume" in err
    archive.asked.clear()
    code, out, _ = command(*words)
    assert archive.transfers()[0][1] == "bytes=50000-"
    assert (code, rows_of(out)) == (0, [[f"BTCUSDT-trades-{DAY}.zip", "downloaded, resumed", "512,000"]])


def test_command_refuses_a_wrong_checksum_and_goes_on(archive: Archive, command) -> None:
    archive.publish(UM.format("2024-01-30"))
    archive.publish(UM.format("2024-01-31"), b"small")
    archive.checksums[UM.format("2024-01-30")] = f"{'0' * 64}  BTCUSDT-trades-2024-01-30.zip\n"
    words = ["BTCUSDT", "--from", "2024-01-30", "--to", "2024-01-31", "--market", "um", "--kind", "trades"]
    code, out, err = command(*words)
    assert (code, err) == (2, "")
    assert [row[1:] for row in rows_of(out)] == [["refused", "0"], ["downloaded", "5"]]
    assert (
        f"BTCUSDT-trades-2024-01-30.zip: downloaded whole twice, its SHA-256 is {hashlib.sha256(CONTENT).hexdigest()}"
        in out
    )


def test_command_reports_a_missing_day(archive: Archive, command) -> None:
    archive.publish(UM.format("2024-01-31"))
    words = ["BTCUSDT", "--from", "2024-01-30", "--to", "2024-01-31", "--market", "um", "--kind", "trades"]
    code, out, err = command(*words)
    assert (code, err) == (1, "")
    assert [row[1:] for row in rows_of(out)] == [["missing", "0"], ["downloaded", "512,000"]]
    assert "1 downloaded, 1 missing" in out


def test_command_names_an_unknown_symbol(archive: Archive, command) -> None:
    archive.publish(UM.format(DAY))
    code, out, err = command("NOSUCHPAIR", "--from", str(DAY), "--to", str(DAY), "--market", "um", "--kind", "trades")
    assert (code, out) == (2, "")
    assert err.startswith("market-maker: nothing is published of NOSUCHPAIR (trades; market um)")
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(("words", "text"), [
    (["BTCUSDT", "--from", "30.01.2024", "--to", "2024-01-31"], "--from: 30.01.2024 is not allowed"),
    (["BTCUSDT", "--from", "2024-01-30", "--to", "2024-02-30"], "--to: 2024-02-30 is not allowed"),
    (["BTCUSDT", "--from", "2024-01-30", "--to", "2024-01-29"], "end: 2024-01-29 is not allowed"),
    (["BTC/USDT", "--from", "2024-01-30", "--to", "2024-01-31"], "symbol: BTC/USDT is not allowed"),
    (["BTCUSDT", "--from", "2024-01-30", "--to", "2024-01-31", "--market", "usdm"], "market: usdm is not allowed"),
    (["BTCUSDT", "--from", "2024-01-30", "--to", "2024-01-31", "--kind", "depth"], "kinds: depth is not allowed"),
])  # fmt: skip
def test_command_names_a_wrong_word(archive: Archive, command, words: list[str], text: str) -> None:
    code, out, err = command(*words)
    assert (code, out) == (2, "")
    assert err.startswith(f"market-maker: {text}")
    assert archive.asked == []


def test_command_that_was_killed_resumes(archive: Archive, tmp_path: Path) -> None:
    archive.publish(UM.format(DAY))
    archive.cuts = [300_000]
    archive.goes_on.clear()
    words = [
        sys.executable, "-m", "market_maker", "fetch", "binance", "BTCUSDT", "--from", str(DAY), "--to", str(DAY),
        "--market", "um", "--kind", "trades", "--base-url", archive.url, "--folder", str(tmp_path),
    ]  # fmt: skip
    path = tmp_path / f"data/futures/um/daily/trades/BTCUSDT/BTCUSDT-trades-{DAY}.zip"
    part = path.with_name(f"{path.name}.part")
    killed = subprocess.Popen(words)
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > 100_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    archive.goes_on.set()
    here = part.stat().st_size
    assert 100_000 < here <= 300_000
    assert not path.exists()
    archive.asked.clear()
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert rows_of(done.stdout) == [[path.name, "downloaded, resumed", "512,000"]]
    assert archive.transfers() == [(UM.format(DAY), f"bytes={here}-")]
    assert (path.read_bytes(), part.exists()) == (CONTENT, False)
