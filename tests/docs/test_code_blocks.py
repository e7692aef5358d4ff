"""Every command and program of the documentation runs, against one service, or says why it does not.

A page is one shell script: its commands and Python programs in their order, in a folder of its own. A block above which
`<!-- not run: reason -->` stands is left out. The events that all of this causes are held against the AsyncAPI document.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect

from conftest import missing
from e2e.service_process import ServiceProcess
from market_maker.api.asyncapi import SHAPES, asyncapi_document
from market_maker.domain.events import EventType

PROJECT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(PROJECT / "docs").rglob("*.md"), *PROJECT.glob("*.md")])
BLOCK = re.compile(r"^(?P<before>[^\n]*)\n+```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: (.{10,}) -->$")
SHELLS = {"console", "bash", "sh"}
COMMAND = re.compile(r"^(\$ |(\.venv/bin/)?market-maker |make |curl |pip |docker |systemctl )", re.MULTILINE)
PAGE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a page; `reason` tells why it is not run."""

    language: str
    text: str
    reason: str | None


def blocks_of(page: Path) -> list[Block]:
    found = []
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        reason = NOT_RUN.search(block["before"])
        found.append(Block(block["language"], block["text"], reason[1] if reason else None))
    return found


def commands_of(console: str) -> str:
    """Return the commands of a console session: what follows `$ `, with its continuation lines, without the output."""
    commands: list[list[str]] = []
    is_open = False
    for line in console.splitlines():
        if line.startswith("$ ") and not is_open:
            commands.append([line.removeprefix("$ ")])
        elif is_open:
            commands[-1].append(line)
        is_open = bool(commands) and (line.endswith("\\") or _quotes_are_open(commands[-1]))
        is_open = is_open and (line.startswith("$ ") or line in commands[-1])
    return "\n".join(line for command in commands for line in command)


def _quotes_are_open(lines: list[str]) -> bool:
    text = re.sub(r"\s#\s[^\n]*$", "", "\n".join(lines), flags=re.MULTILINE)
    text = re.sub(r"\\\"", "", re.sub(r"'[^']*'", "", text))
    return "'" in text or text.count('"') % 2 == 1


def script_of(blocks: list[Block]) -> str:
    parts = ["set -euo pipefail"]
    for number, block in enumerate(blocks, 1):
        if block.reason is not None:
            continue
        if block.language == "python":
            parts.append(f"python - <<'PROGRAM_{number}'\n{block.text}PROGRAM_{number}")
        elif block.language == "console":
            parts.append(commands_of(block.text))
        elif block.language in SHELLS:
            parts.append(block.text)
    return "\n".join(parts) + "\n"


RUN = {page: [b for b in blocks_of(page) if b.language in SHELLS | {"python"} and b.reason is None] for page in PAGES}


def name_of(page: Path) -> str:
    return str(page.relative_to(PROJECT))


QUICK = frozenset({"README.md", "quickstart.md"})
"""Pages that run with every change; the others take minutes."""


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_say_what_they_are(page: Path) -> None:
    assert page.read_text(encoding="utf-8").count("\n```") % 2 == 0
    plain = [block for block in blocks_of(page) if block.language == "" and COMMAND.search(block.text)]
    assert plain == [], "commands are in a block `console`"
    assert len(re.findall(r"<!-- not run:", page.read_text(encoding="utf-8"))) == sum(
        block.reason is not None for block in blocks_of(page)
    ), "a reason stands in the line above its block"


def test_commands_are_told_from_output() -> None:
    text = '$ curl -d \'{\n    "a": 1}\' x   # the user\'s\n{"answer": 1}\n$ a \\\n  b\nout\n'
    assert commands_of(text) == "curl -d '{\n    \"a\": 1}' x   # the user's\na \\\n  b"


class Listener:
    """Reads the stream of a service in a thread of its own and keeps what does not fit the AsyncAPI document."""

    def __init__(self, port: int) -> None:
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._address = f"ws://127.0.0.1:{port}/api/v1/stream"
        self._stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._read()))
        self._thread.start()

    async def _read(self) -> None:
        async with connect(self._address, max_size=None) as socket:
            while not self._stopping:
                try:
                    message = json.loads(await asyncio.wait_for(socket.recv(), 0.2))
                except TimeoutError:
                    continue
                self.seen[message["type"]] += 1
                fault = fault_of(message)
                if fault:
                    self.wrong.append(f"{message['type']}: {fault}")

    def close(self) -> None:
        self._stopping = True
        self._thread.join()


@cache
def document() -> dict[str, Any]:
    return asyncapi_document()


def fault_of(message: dict[str, Any]) -> str:
    """Return what of an event is not as the AsyncAPI document says."""
    kind = EventType(message["type"])
    payload = document()["components"]["messages"][kind.name.lower()]["payload"]
    if set(message) != set(payload["required"]):
        return f"envelope has {sorted(message)}"
    if kind not in SHAPES:
        return ""
    schema = document()["components"]["schemas"][SHAPES[kind].__name__]
    unknown = set(message["data"]) - set(schema["properties"])
    missing = set(schema.get("required", ())) - set(message["data"])
    if unknown or missing:
        return f"unknown {sorted(unknown)}, missing {sorted(missing)}"
    try:
        msgspec.convert(message["data"], SHAPES[kind], strict=False)
    except msgspec.ValidationError as error:
        return str(error)
    return ""


@dataclass
class Surroundings:
    """What the pages run in."""

    service: ServiceProcess
    listener: Listener
    environment: dict[str, str]
    settings: dict[str, str]


@pytest.fixture(scope="module")
def surroundings(
    _make_database: Callable[[str | None], str], _migrated_template: str, sample_data: Path
) -> Iterator[Surroundings]:
    yield from made_surroundings(_make_database(_migrated_template), {})


@pytest.fixture(scope="module")
def surroundings_with_broker(
    _make_database: Callable[[str | None], str], _migrated_template: str, rabbitmq_url: str
) -> Iterator[Surroundings]:
    """Yield a service that shares the broker with others by a prefix of its own."""
    settings = {"MM_RABBITMQ_URL": rabbitmq_url, "MM_RABBITMQ_PREFIX": f"mm_docs_{os.getpid()}"}
    yield from made_surroundings(_make_database(_migrated_template), settings)


def made_surroundings(dsn: str, settings: dict[str, str]) -> Iterator[Surroundings]:
    folder = Path(tempfile.mkdtemp(prefix="market-maker-docs-"))
    service = ServiceProcess(
        dsn, folder / "data", {"MM_BACKTEST__WORKERS": "1", "MM_SIMULATOR__SEED": "11", **settings}
    )
    asyncio.run(service.start(120))
    programs = folder / "bin"
    programs.mkdir()
    curl = shutil.which("curl") or missing("curl is not installed")
    commands = {
        "market-maker": f'"{sys.executable}" -m market_maker', "python": f'"{sys.executable}"', "curl": f'"{curl}" --fail-with-body'
    }  # fmt: skip
    for name, command in commands.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        program.chmod(0o755)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("MM_") or name == "MM_KERNEL_CACHE"
    }
    environment = kept | {
        "PATH": f"{programs}:{os.environ['PATH']}", "MM_DATABASE_URL": dsn, "MM_DATA_DIR": str(folder / "data"),
        "MM_BACKTEST__EXECUTION_DELAY": "5ms", "COLUMNS": "120", "MARKET_MAKER_URL": f"http://127.0.0.1:{service.port}",
    }  # fmt: skip
    listener = Listener(service.port)
    yield Surroundings(service, listener, environment, settings)
    listener.close()
    service.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(PAGE_SECONDS + 60)
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=() if page.name in QUICK else pytest.mark.slow) for page in PAGES if RUN[page]],
    ids=name_of,
)
def test_a_page_runs(page: Path, request: pytest.FixtureRequest, tmp_path: Path, sample_data: Path) -> None:
    text = script_of(blocks_of(page)).replace(".venv/bin/market-maker", "market-maker")
    with_broker = "amqp://" in text
    surroundings: Surroundings = request.getfixturevalue("surroundings" + "_with_broker" * with_broker)
    port = surroundings.service.port
    if with_broker:
        text = re.sub(r"amqp://[^\"']*", surroundings.settings["MM_RABBITMQ_URL"], text)
        text = text.replace("market_maker.commands", f"{surroundings.settings['MM_RABBITMQ_PREFIX']}.commands")
    text = re.sub(r"\b(localhost|127\.0\.0\.1):8000\b", f"127.0.0.1:{port}", text)
    for recording in sorted(sample_data.glob("binance_collector/usdm/*.gz")):
        (tmp_path / recording.name).symlink_to(recording)
    script = tmp_path / "page.sh"
    script.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["bash", str(script)], cwd=tmp_path, env=surroundings.environment, capture_output=True, text=True,
        timeout=PAGE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{text}\n--- it said\n{done.stdout[-3000:]}\n--- and\n{done.stderr[-3000:]}"
    assert surroundings.listener.wrong == []


@pytest.mark.slow
def test_the_events_of_all_pages_fit_the_asyncapi_document(surroundings: Surroundings) -> None:
    assert surroundings.listener.wrong == []
    assert {
        "simulator.order.received", "simulator.order.filled", "simulator.trade.executed", "simulator.position.updated",
        "backtest.completed", "backtest.sweep.completed", "risk.assessed", "risk.alert.raised", "market_data.import.completed",
    } <= set(surroundings.listener.seen)  # fmt: skip
    assert surroundings.service.faults() == []


def test_a_wrong_event_is_found() -> None:
    envelope = dict.fromkeys(("id", "aggregate_id", "time", "correlation_id"), "x") | {"version": 1, "sequence": 1}
    right = envelope | {
        "type": "simulator.session.changed",
        "data": {
            "session_id": "00000000-0000-7000-8000-000000000010",
            "state": "PAUSED",
            "mode": "NORMAL",
            "ended": False,
        },
    }
    assert fault_of(right) == ""
    assert "unknown ['extra']" in fault_of(right | {"data": right["data"] | {"extra": 1}})
    assert "missing ['state']" in fault_of(
        right | {"data": {"session_id": right["data"]["session_id"], "mode": "NORMAL", "ended": False}}
    )
    assert "envelope" in fault_of({name: value for name, value in right.items() if name != "time"})
