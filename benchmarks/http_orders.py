"""How many durable orders a second the service takes over HTTP, beside the bare framework's no-op.

Three processes: the service (embedded PostgreSQL unless --database is given), the bare framework, and one load
generator that asks both in turn, in the same way. Every order goes its whole way: accepted, committed, answered,
and an execution_delay later it arrives at the venue, is committed again and published. Afterwards every
acknowledged order is looked for in the database. The last line is one JSON object.

Run: .venv/bin/python benchmarks/http_orders.py [--quick] [--database URL] [--rabbitmq URL] [--mix]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import uvicorn
import uvloop
from litestar import Litestar, Request, Response, get, post

from market_maker.api.schemas import PlaceOrder
from market_maker.storage.embedded import start_embedded

PAIR = "00000000-0000-7000-8000-000000000010"
ORDERS = "/api/v1/simulator/orders"
BOOK = f"/api/v1/simulator/orderbook/{PAIR}?depth=20"  # 20 levels a side: 40 in all
CONNECTIONS = 50
SETTLE_S = 1.5
PREBUILT = 4096
WARM_UP_S = 0.4


# ---------------------------------------------------------------------- the bare framework


async def serve_bare(port_file: Path, order_answer: bytes, book_answer: bytes) -> None:
    """Serve constants of the given bytes: what the framework costs when nothing is done."""
    decoder = msgspec.json.Decoder(PlaceOrder)

    @post(ORDERS)
    async def place(request: Request[Any, Any, Any]) -> Response[bytes]:
        decoder.decode(await request.body())
        return Response(order_answer, status_code=201, media_type="application/json")

    @get("/api/v1/simulator/orderbook/{pair_id:uuid}")
    async def book(pair_id: UUID, depth: int = 20) -> Response[bytes]:  # noqa: ARG001 (parsed as the service does)
        return Response(book_answer, media_type="application/json")

    app = Litestar([place, book], openapi_config=None, logging_config=None)
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, server_header=False)
    server = uvicorn.Server(config)
    socket = config.bind_socket()  # requests wait in its queue until the server takes them
    await asyncio.to_thread(port_file.write_text, str(socket.getsockname()[1]), encoding="utf-8")
    await server.serve([socket])


# ---------------------------------------------------------------------- the load generator


class Caller(asyncio.Protocol):
    """One keep-alive connection that always has one request under way."""

    def __init__(self, round_: Round, number: int) -> None:
        self.round = round_
        self.next = number * 31
        self.sent_at = 0.0
        self.cancel_next: bytes | None = None
        self.cancels = False
        self.parts = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self.transport = transport
        self.send()

    def send(self) -> None:
        """Send the next request: a prebuilt one, or in a mix now and then a cancel of the last order."""
        requests = self.round.requests
        self.next += 1
        self.cancels = self.cancel_next is not None and self.next % 5 == 0
        if self.cancels:
            request = b"DELETE %b/%b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % (ORDERS.encode(), self.cancel_next)
            self.cancel_next = None
        else:
            request = requests[self.next % len(requests)]
        self.sent_at = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take in an answer, which mostly comes in one piece."""
        data = self.parts + data if self.parts else data
        head = data.find(b"\r\n\r\n")
        start = data.find(b"content-length: ")
        if head < 0 or len(data) < head + 4 + int(data[start + 16 : data.index(b"\r", start)]):
            self.parts = data
            return
        self.parts = b""
        now = time.perf_counter()
        self.round.note(now, now - self.sent_at, data, self)
        if not self.round.over.is_set():
            self.send()

    def connection_lost(self, _error: Exception | None) -> None:
        """Count a connection that the server closed."""
        if not self.round.over.is_set():
            self.round.statuses["lost"] = self.round.statuses.get("lost", 0) + 1


class Round:
    """One stretch of load on one address."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.task = task
        self.requests = [text.encode("latin-1") for text in task["requests"]]
        self.times: list[float] = []
        self.statuses: dict[str, int] = {}
        self.order_ids: list[str] = []
        self.over = asyncio.Event()
        self.begin = 0.0
        self.end = 0.0

    def note(self, now: float, seconds: float, data: bytes, caller: Caller) -> None:
        """Record one answer."""
        status = data[9:12].decode()
        if self.begin <= now < self.end:
            self.times.append(seconds)
        if status == "409" and caller.cancels:
            return  # the order was filled before its cancel came: an honest answer
        if status not in {"200", "201", "202"}:
            self.statuses[status] = self.statuses.get(status, 0) + 1
        elif self.task["collect"] and status == "201":
            at = data.find(b'"order_id":"') + 12
            self.order_ids.append(data[at : at + 36].decode())
            if self.task["cancels"]:
                caller.cancel_next = data[at : at + 36]

    async def run(self) -> dict[str, Any]:
        """Load for the wanted time; return rate, latencies in ms and what was acknowledged."""
        loop = asyncio.get_running_loop()
        self.begin = time.perf_counter() + WARM_UP_S
        self.end = self.begin + self.task["seconds"]
        callers = [
            await loop.create_connection(lambda number=number: Caller(self, number), "127.0.0.1", self.task["port"])
            for number in range(self.task["connections"])
        ]
        await asyncio.sleep(self.end - time.perf_counter())
        self.over.set()
        await asyncio.sleep(0.25)  # what is under way is answered and counts as acknowledged
        for transport, _ in callers:
            transport.close()
        times = sorted(self.times) or [float("nan")]
        return {
            "rate": len(self.times) / self.task["seconds"],
            "p50_ms": 1e3 * times[len(times) // 2],
            "p99_ms": 1e3 * times[len(times) * 99 // 100],
            "max_ms": 1e3 * times[-1],
            "bad": self.statuses,
            "order_ids": self.order_ids,
        }


async def generate() -> None:
    """Read one task per line from standard input, answer each by one line."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await Round(json.loads(line)).run()), flush=True)


# ---------------------------------------------------------------------- the requests


def post_request(path: str, body: dict[str, Any]) -> str:
    """Return the text of a POST with a JSON body."""
    text = json.dumps(body)
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}"


def order_requests(account_id: str, *, mix: bool) -> list[str]:
    """Return orders on both sides, 2 to 12 % away from the first price; in a mix every fourth one crosses."""
    rng = random.Random(7)
    requests = []
    for number in range(PREBUILT):
        side = rng.choice(("BUY", "SELL"))
        away = rng.randint(2_000, 12_000)
        price = 50_000_00 * (100_000 - away if side == "BUY" else 100_000 + away) // 100_000
        body: dict[str, Any] = {
            "pair_id": PAIR, "account_id": account_id, "side": side, "type": "LIMIT",
            "price": f"{price // 100}.{price % 100:02d}", "amount": f"0.{rng.randint(1, 9999):05d}",
            "simulation_params": {"execution_probability": 1.0, "price_impact": 0.0},
        }  # fmt: skip
        if mix and number % 4 == 0:
            body |= {"type": "MARKET", "amount": "0.00500"}
            del body["price"]
        requests.append(post_request(ORDERS, body))
    return requests


# ---------------------------------------------------------------------- the whole


class Programs:
    """The processes of one benchmark."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder = folder
        self.options = options
        self.started: list[subprocess.Popen[str]] = []
        self.generator: Any = None
        self.service_port = 0
        self.bare_port = 0

    def start(self, *command: str, **keywords: Any) -> subprocess.Popen[str]:
        """Start a process that ends with us."""
        process = subprocess.Popen([sys.executable, *command], text=True, **keywords)
        self.started.append(process)
        return process

    def stop(self) -> None:
        """End them all."""
        for process in self.started:
            process.send_signal(signal.SIGTERM)
        for process in self.started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()

    def start_service(self) -> None:
        """Start `market-maker serve`; without backtest workers, which have no part in an order's path."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
        environment |= {"MM_DATA_DIR": str(self.folder / "data"), "MM_BACKTEST__WORKERS": "0"}
        if "MM_CACHE_DIR" in os.environ:
            environment["MM_CACHE_DIR"] = os.environ["MM_CACHE_DIR"]
        if self.options.database:
            environment["MM_DATABASE_URL"] = self.options.database
        if self.options.rabbitmq:
            environment["MM_RABBITMQ_URL"] = self.options.rabbitmq
        command = ("-m", "market_maker", "serve", "--port", "0")
        process = self.start(*command, env=environment, stdout=subprocess.PIPE)
        assert process.stdout is not None
        words = process.stdout.readline().split()
        assert len(words) > 2, "the service did not start; its log is above"
        self.service_port = int(words[2].rpartition(":")[2])

    def start_bare(self, order_answer: bytes, book_answer: bytes) -> None:
        """Start the bare framework with answers of the same bytes."""
        for name, answer in (("order", order_answer), ("book", book_answer)):
            (self.folder / f"{name}.json").write_bytes(answer)
        process = self.start(__file__, "--role", "bare", "--folder", str(self.folder))
        port_file = self.folder / "port"
        while not port_file.exists() or not port_file.read_text(encoding="utf-8"):
            assert process.poll() is None, "the bare framework did not start; its log is above"
            time.sleep(0.02)
        self.bare_port = int(port_file.read_text(encoding="utf-8"))

    def load(self, port: int, requests: list[str], connections: int, seconds: float, **more: Any) -> dict[str, Any]:
        """Let the generator work and return its figures."""
        if self.generator is None:
            streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self.generator = self.start(__file__, "--role", "load", **streams)
        task = {"port": port, "requests": requests, "connections": connections, "seconds": seconds}
        task |= {"collect": False, "cancels": False, **more}
        self.generator.stdin.write(json.dumps(task) + "\n")
        self.generator.stdin.flush()
        figures: dict[str, Any] = json.loads(self.generator.stdout.readline())
        assert not figures["bad"], f"answers other than success: {figures['bad']}"
        return figures

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        """Ask the service one thing and return the answer's body."""
        url = f"http://127.0.0.1:{self.service_port}{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 (our own address)
            content: bytes = answer.read()
        return content

    def dsn(self) -> str:
        """Return the database's address; the embedded one's is found by its socket."""
        if self.options.database:
            return str(self.options.database)
        with start_embedded(self.folder / "data") as embedded:
            return embedded.dsn


def measure(programs: Programs, options: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds, alternating between the two sides; return the figures."""
    account = json.loads(
        programs.call(
            "POST", "/api/v1/accounts", {"name": f"bench {time.time_ns()}", "balance": "900000000000000 USDT"}
        )
    )
    orders = order_requests(account["account_id"], mix=options.mix)
    sample = programs.call("POST", ORDERS, json.loads(orders[1].partition("\r\n\r\n")[2]))
    programs.start_bare(sample, programs.call("GET", BOOK))
    book = [f"GET {BOOK} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"]
    rounds = 3 if options.quick else 7
    seconds = 2.0 if options.quick else 5.0
    plan = {
        "noop_alone": (programs.bare_port, orders, 1, 0.3 * seconds),
        "durable_alone": (programs.service_port, orders, 1, 0.5 * seconds),
        "noop": (programs.bare_port, orders, CONNECTIONS, 0.6 * seconds),
        "durable": (programs.service_port, orders, CONNECTIONS, seconds),
        "noop_book": (programs.bare_port, book, CONNECTIONS, 0.5 * seconds),
        "book": (programs.service_port, book, CONNECTIONS, 0.5 * seconds),
    }
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in plan}
    acknowledged: list[str] = [json.loads(sample)["order_id"]]
    for _ in range(rounds):
        time.sleep(SETTLE_S)  # what the round before left to match, publish and flush is not the next one's
        for name, (port, requests, connections, length) in plan.items():
            is_durable = name.startswith("durable")
            figures = programs.load(
                port, requests, connections, length, collect=is_durable, cancels=is_durable and options.mix
            )
            acknowledged += figures.pop("order_ids")
            found[name].append(figures)
    time.sleep(0.3)
    shown = {
        name: {key: median(each[key] for each in rows) for key in ("rate", "p50_ms", "p99_ms", "max_ms")}
        for name, rows in found.items()
    }
    for name, rows in found.items():
        print(f"{name:14} " + "  ".join(f"{row['rate']:7.0f}/s p99 {row['p99_ms']:6.2f} ms" for row in rows))
    return {**shown, "found": found, "lost": missing(programs.dsn(), acknowledged), "acknowledged": len(acknowledged)}


def missing(dsn: str, order_ids: list[str]) -> int:
    """Return how many acknowledged orders the database does not have."""
    query = """
        SELECT count(*) FROM unnest(%s::uuid[]) AS wanted(order_id)
        WHERE NOT EXISTS (SELECT 1 FROM simulated_orders o WHERE o.order_id = wanted.order_id)
    """
    with psycopg.connect(dsn) as connection:
        found = connection.execute(query, (order_ids,)).fetchone()
    assert found is not None
    assert len(set(order_ids)) == len(order_ids), "an order id was given twice"
    return int(found[0])


def report(figures: dict[str, Any], options: argparse.Namespace) -> None:
    """Print medians and the line of JSON."""
    found = figures["found"]

    def ratio(ours: str, theirs: str) -> float:
        pairs = zip(found[ours], found[theirs], strict=True)
        return median(a["rate"] / b["rate"] for a, b in pairs)

    result = {
        "benchmark": "http_orders",
        "orders": "mix" if options.mix else "resting",
        "ratio_durable_vs_noop": round(ratio("durable", "noop"), 3),
        "ratio_book_vs_noop": round(ratio("book", "noop_book"), 3),
        "ratio_durable_alone_vs_noop": round(ratio("durable_alone", "noop_alone"), 3),
        "orders_per_second": round(figures["durable"]["rate"]),
        "noop_per_second": round(figures["noop"]["rate"]),
        "books_per_second": round(figures["book"]["rate"]),
        "p50_ms": round(figures["durable"]["p50_ms"], 2),
        "p99_ms": round(figures["durable"]["p99_ms"], 2),
        "worst_ms": round(max(row["max_ms"] for row in found["durable"]), 2),
        "alone_p50_ms": round(figures["durable_alone"]["p50_ms"], 2),
        "alone_p99_ms": round(figures["durable_alone"]["p99_ms"], 2),
        "acknowledged": figures["acknowledged"],
        "lost": figures["lost"],
    }
    print(f"acknowledged {figures['acknowledged']} orders, of which {figures['lost']} are not in the database")
    print(json.dumps(result))
    assert figures["lost"] == 0, "acknowledged orders are missing"


def describe_machine(programs: Programs) -> None:
    """Print what the figures were measured on."""
    with psycopg.connect(programs.dsn()) as connection:
        row = connection.execute("SELECT current_setting('server_version')").fetchone()
        assert row is not None
    packages = ("litestar", "uvicorn", "uvloop", "httptools", "msgspec", "psycopg")
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}")
    print(
        f"Python {platform.python_version()}, PostgreSQL {row[0]}, " + ", ".join(f"{p} {version(p)}" for p in packages)
    )


@contextlib.contextmanager
def running(options: argparse.Namespace) -> Iterator[Programs]:
    """Start the service in a folder of its own; stop everything at the end."""
    with tempfile.TemporaryDirectory(prefix="market-maker-bench-") as folder:
        Path(folder).chmod(0o711)  # the embedded server may run under an account of its own
        programs = Programs(Path(folder), options)
        try:
            programs.start_service()
            yield programs
        finally:
            programs.stop()


def main() -> None:
    """Read the options and run, or play one of the other two roles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter rounds: under 50 s in all")
    parser.add_argument("--database", help="URL of a PostgreSQL to use instead of the embedded one")
    parser.add_argument("--rabbitmq", help="URL of a RabbitMQ to publish to")
    parser.add_argument("--mix", action="store_true", help="a quarter crosses the book, a fifth of the calls cancels")
    parser.add_argument("--role", choices=("bare", "load"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "load":
        uvloop.run(generate())
    elif options.role == "bare":
        answers = [(options.folder / f"{name}.json").read_bytes() for name in ("order", "book")]
        uvloop.run(serve_bare(options.folder / "port", *answers))
    else:
        with running(options) as programs:
            describe_machine(programs)
            report(measure(programs, options), options)


if __name__ == "__main__":
    main()
