"""A real browser, a service of its own, and pages that fail their test when they say anything wrong in the console.

The browser is the machine's own Chromium: env MM_TEST_BROWSER, else one on the path. A browser that is named has to be there.
Where none is named and none is found the tests are skipped, with the reason, in continuous integration as well: Chromium
is no package of ours, and a machine that checks changes need not have one. What is ours (the built pages, axe) it must have.

With MM_TEST_SCREENSHOTS=folder every picture that a test takes is kept there, and one of each failure; those of the
documentation are made so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import missing
from e2e.private_broker import free_ports
from market_maker.dashboard.files import start_page

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (make develop)")
PROJECT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDE, NARROW = (1440, 900), (390, 844)


def browser_path() -> str:
    """Return the browser's program; a skip without one, a failure when the one that was named is not there."""
    named = os.environ.get("MM_TEST_BROWSER")
    if named:
        found = shutil.which(named)
        assert found, f"MM_TEST_BROWSER={named} is no program"
        return found
    paths = (shutil.which(name) for name in NAMES)
    return next(filter(None, paths), None) or pytest.skip("no Chromium on this machine; name one in MM_TEST_BROWSER")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = browser_path()
    if start_page() is None:
        missing("the dashboard has not been built (make pages)")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield found
        found.close()


@dataclass
class Service:
    """A service process on a port of its own, that can be stopped and started again."""

    dsn: str
    folder: Path
    settings: dict[str, str]
    port: int = field(default_factory=lambda: free_ports(1)[0])
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        environment = {**os.environ, "MM_DATABASE_URL": self.dsn, "MM_DATA_DIR": str(self.folder)}
        environment.pop("MM_RABBITMQ_URL", None)
        with (self.folder / "service.log").open("ab") as log:
            self.process = self._process(environment, log)
        self._wait()

    def _process(self, environment: dict[str, str], log: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "market_maker", "serve", "--port", str(self.port), *self._chosen()],
            env=environment, stdout=log, stderr=log, cwd=self.folder,
        )  # fmt: skip

    def _wait(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + 110
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.folder / "service.log").read_text("utf-8")[-3000:]
            try:
                if httpx.get(f"{self.url}/health/ready", timeout=2).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.2)
        raise AssertionError((self.folder / "service.log").read_text("utf-8")[-3000:])

    def _chosen(self) -> list[str]:
        return [part for name, value in self.settings.items() for part in ("--set", f"{name}={value}")]

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


FAST = {
    "simulator.price_deviation": "0.0001",
    "simulator.market_update_interval": "50ms",
    "simulator.execution_delay": "20ms",
    "backtest.execution_delay": "20ms",
}


@pytest.fixture(scope="module")
def _running(
    browser: Any, _migrated_template: str, _make_database: Callable[[str | None], str], database_server: str
) -> Iterator[Service]:
    """Yield the one service of a module's tests: it takes longer to start than they do."""
    folder = Path(tempfile.mkdtemp(prefix="market-maker-browser-"))
    made = Service(_make_database(_migrated_template), folder, FAST)
    made.start()
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def service(_running: Service) -> Service:
    """Return a service without open orders, started again should a test have left it stopped or with keys."""
    if _running.settings != FAST or _running.process is None or _running.process.poll() is not None:
        _running.stop()
        _running.settings = FAST
        _running.start()
    httpx.delete(f"{_running.url}/api/v1/simulator/orders", timeout=10)
    return _running


# Whether a bar of progress was ever there: what is quick is gone before anybody has looked.
NOTE_PROGRESS = """
window.progressSeen = [];
new MutationObserver(() => document.querySelectorAll('.data [role=progressbar]').forEach((bar) => {
  const text = bar.parentElement.innerText.trim();
  if (window.progressSeen.at(-1) !== text) window.progressSeen.push(text);
})).observe(document, {subtree: true, childList: true, characterData: true});
"""


class Visit:
    """A page of the browser; what it says in the console is kept."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.said: list[str] = []
        page.set_default_timeout(45_000)
        page.add_init_script(NOTE_PROGRESS)
        page.on("console", lambda message: message.type in ("error", "warning") and self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))

    def open(self, name: str = "market") -> Any:
        self.page.goto(f"{self.url}/#/{name}")
        return self.page

    def picture(self, name: str) -> None:
        """Keep a picture of the page, where pictures are asked for."""
        if folder := os.environ.get("MM_TEST_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png")

    def whole_picture(self, name: str) -> None:
        """Keep a picture of all of the page, also of what one would have to scroll to."""
        if folder := os.environ.get("MM_TEST_SCREENSHOTS"):
            self.page.evaluate("scrollTo(0, 0)")
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    def accessibility_faults(self) -> list[str]:
        """Return what axe finds, serious or not."""
        source = PROJECT / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
        if not source.is_file():
            missing("axe-core is not installed (make setup)")
        # Evaluated by the browser's debugger, since the page's own policy lets no script in.
        self.page.evaluate(source.read_text("utf-8"))
        found = self.page.evaluate("async () => (await axe.run({resultTypes: ['violations']})).violations")
        return [f"{each['id']}: {each['nodes'][0]['html'][:160]}" for each in found]


@pytest.fixture
def rough_visit(browser: Any, service: Service, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Yield a page whose service is taken away or refuses: that the browser tells of it is no fault of the page."""
    context = browser.new_context(viewport={"width": WIDE[0], "height": WIDE[1]}, color_scheme="dark")
    made, failed = Visit(context.new_page(), service.url), request.session.testsfailed
    yield made
    if request.session.testsfailed > failed:
        made.whole_picture(f"failed_{request.node.name}")
    context.close()


@pytest.fixture
def visit(rough_visit: Visit) -> Iterator[Visit]:
    """Yield a page that has to be silent: any error or warning in the console fails the test."""
    yield rough_visit
    assert rough_visit.said == []
