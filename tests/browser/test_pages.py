"""Each page by its user's task, in a real browser: no error in the console, nothing that axe finds."""

from __future__ import annotations

import re
import time
from typing import Any

import httpx
import pytest

from browser.conftest import NARROW, WIDE, Service, Visit
from e2e.service_process import DEFAULT_PAIR

PAGES = ("market", "session", "backtests", "strategy", "risk", "data", "system")
SIZE_MAX = 1_000_000


def wait_until(check: Any, seconds: float = 15.0) -> Any:
    """Return what `check` returns once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not become so in time")


def api(service: Service, path: str) -> Any:
    return httpx.get(f"{service.url}/api/v1/{path}", timeout=10).json()


def orders(service: Service) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api(service, f"simulator/orders?pair_id={DEFAULT_PAIR}&is_open=true")["items"]
    return found


def test_a_new_user_gets_from_nothing_to_a_risk_figure(visit: Visit, service: Service) -> None:
    """Issue 8: a running market, a placed order, a finished backtest and a risk figure in under five minutes."""
    began = time.monotonic()
    page = visit.open()
    page.wait_for_selector(".row.buy .price-button")
    page.wait_for_selector('[data-link="live"]')
    # an order that trades at once leaves a position
    page.get_by_role("button", name="Market", exact=True).click()
    page.get_by_role("button", name="Buy", exact=True).click()
    page.wait_for_selector(".position .facts")
    page.get_by_role("link", name="Backtests").click()
    page.get_by_role("button", name="Record 15 s of the market").click()
    run = page.get_by_role("button", name="Run the backtest")
    wait_until(run.is_enabled, 40)
    run.click()
    page.get_by_role("link", name="Report", exact=True).wait_for(timeout=60_000)
    page.get_by_role("link", name="Risk").click()
    page.get_by_role("button", name="manual orders").click()

    def assessed() -> bool:
        page.get_by_role("button", name="Assess the risk").click()
        return bool(
            page.get_by_text("Expected shortfall", exact=True).last.is_visible()
            and page.locator(".large-facts").count()
        )

    wait_until(assessed, 90)
    assert time.monotonic() - began < 300
    refusals = [text for text in visit.said if "422" in text or "400" in text or "409" in text]
    assert visit.said == refusals, (
        "a market that has just begun may have too few prices for the first figure, nothing else"
    )


def test_orders_are_placed_moved_and_cancelled_from_the_book(visit: Visit, service: Service) -> None:
    page = visit.open()
    page.wait_for_selector(".bids .price-button")
    page.locator(".bids .price-button").nth(9).click()
    placed = wait_until(lambda: orders(service))
    assert (placed[0]["side"], placed[0]["type"]) == ("BUY", "LIMIT")
    chip = page.locator(".bids .chip")
    chip.wait_for()
    row = page.locator(".data tbody tr").first
    wait_until(lambda: re.search(r"new", row.inner_text()))
    assert "–" not in row.inner_text(), "the quantity ahead is told"
    before = float(placed[0]["price"])
    page.get_by_role("button", name=re.compile("one tick up")).click()
    wait_until(lambda: any(float(order["price"]) == pytest.approx(before + 0.01) for order in orders(service)))
    page.get_by_role("button", name=re.compile("^Cancel order at")).click()
    wait_until(lambda: not orders(service))
    wait_until(lambda: page.locator(".chip").count() == 0)
    assert visit.said == []


def test_the_book_is_worked_by_keys(visit: Visit, service: Service) -> None:
    page = visit.open()
    page.wait_for_selector(".asks .price-button")
    page.keyboard.press("l")
    page.keyboard.press("Home")
    page.keyboard.press("s")
    placed = wait_until(lambda: orders(service))
    assert placed[0]["side"] == "SELL"
    page.keyboard.press("Shift+X")
    wait_until(lambda: not orders(service))
    page.keyboard.press("7")
    page.get_by_role("heading", name="Latency").wait_for()
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    wait_until(lambda: page.get_by_role("dialog").count() == 0)
    assert visit.said == []


def test_a_market_is_paused_stepped_stopped_and_started_again(visit: Visit, service: Service) -> None:
    page = visit.open("session")
    page.get_by_role("button", name="Pause", exact=True).click()
    page.get_by_role("button", name="Go on").wait_for()
    steps = api(service, "simulator/sessions")["items"][0]["step"]
    page.get_by_role("button", name="Step", exact=True).click()
    # 10 s of its time at 50 ms an update
    wait_until(lambda: api(service, "simulator/sessions")["items"][0]["step"] == steps + 200)
    page.get_by_role("button", name="Stop for good").click()
    page.get_by_role("button", name="Stop it").click()
    page.get_by_role("link", name="Market", exact=True).click()
    page.get_by_text("No market runs for").wait_for()
    page.get_by_role("button", name="Start the market").click()
    page.wait_for_selector(".bids .price-button")
    # While no market runs its tape and candles are answered 409, which browsers log.
    assert [text for text in visit.said if "409" not in text] == []


def test_limits_and_strategies_are_added(visit: Visit, service: Service) -> None:
    page = visit.open("risk")
    page.get_by_label("Threshold").fill("12.5")
    page.get_by_role("button", name="Add the limit").click()
    page.get_by_role("button", name=re.compile("Remove limit")).wait_for()
    assert api(service, "risk/limits")["items"][0]["threshold"] == "12.5"
    page.get_by_role("button", name=re.compile("Remove limit")).click()
    wait_until(lambda: not api(service, "risk/limits")["items"])
    page.get_by_role("link", name="Strategy").click()
    page.get_by_label("Name", exact=True).fill("wide quotes")
    page.get_by_label("half spread ticks").fill("250")
    page.get_by_role("button", name="Add the strategy").click()
    page.get_by_text("wide quotes", exact=True).wait_for()
    added = [each for each in api(service, "strategies")["items"] if each["name"] == "wide quotes"]
    assert added[0]["parameters"]["half_spread_ticks"] == 250
    assert visit.said == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_is_accessible_on_a_laptop_and_a_phone(visit: Visit, service: Service, theme: str) -> None:
    page = visit.page
    page.emulate_media(color_scheme=theme)
    httpx.post(
        f"{service.url}/api/v1/simulator/orders",
        json={"pair_id": DEFAULT_PAIR, "side": "BUY", "type": "MARKET", "amount": "0.01"},
    )
    book = api(service, f"simulator/orderbook/{DEFAULT_PAIR}?depth=5")
    order = {
        "pair_id": DEFAULT_PAIR,
        "side": "BUY",
        "type": "LIMIT",
        "amount": "0.01",
        "price": book["bids"][4]["price"],
    }
    httpx.post(f"{service.url}/api/v1/simulator/orders", json=order)
    faults: dict[str, list[str]] = {}
    for width, height in (WIDE, NARROW):
        page.set_viewport_size({"width": width, "height": height})
        for name in PAGES:
            visit.open(name)
            page.wait_for_selector(".panel")
            page.wait_for_timeout(400)
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            found = visit.accessibility_faults() + ([f"{wide} px too wide"] if wide > 0 else [])
            if found:
                faults[f"{name} {width}"] = found
    assert faults == {}
    assert visit.said == []


def test_it_loads_at_once_and_is_small(visit: Visit) -> None:
    sizes: list[int] = []
    hosts: set[str] = set()

    def note(response: Any) -> None:
        hosts.add(response.url.split("/")[2])
        if "/assets/" in response.url or response.url.endswith(("/", "#/market")):
            sizes.append(len(response.body()))
            assert "unsafe" not in response.headers["content-security-policy"]

    visit.page.on("response", note)
    visit.open().wait_for_selector(".bids .price-button")
    began = time.monotonic()
    visit.page.reload()
    visit.page.wait_for_selector(".bids .price-button")
    seconds = time.monotonic() - began
    assert hosts == {visit.url.removeprefix("http://")}
    assert sum(sizes) < SIZE_MAX
    assert seconds < 1.0 or visit.page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") < 1000
