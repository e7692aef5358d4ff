"""Each page by its user's task, in a real browser: no error in the console, nothing that axe finds."""

from __future__ import annotations

import re

import httpx
import pytest

from browser.asking import api, orders, wait_until
from browser.conftest import NARROW, WIDE, Service, Visit
from e2e.service_process import DEFAULT_PAIR

PAGES = ("market", "session", "backtests", "strategy", "risk", "data", "system")


def test_orders_are_placed_moved_and_cancelled_from_the_book(visit: Visit, service: Service) -> None:
    page = visit.open()
    page.wait_for_selector(".bids .price-button")
    page.locator(".bids .price-button").nth(9).click()
    placed = wait_until(lambda: orders(service))
    assert (placed[0]["side"], placed[0]["type"]) == ("BUY", "LIMIT")
    chip = page.locator(".bids .chip")
    chip.wait_for()
    row = page.locator(".data tbody tr").first
    # First "pending new", with a dash for what stands before it; then at the exchange, with the quantity ahead.
    wait_until(lambda: re.search(r"(?<!pending )new", row.inner_text()) and "–" not in row.inner_text())
    before = float(placed[0]["price"])
    page.get_by_role("button", name=re.compile("one tick up")).click()
    wait_until(lambda: any(float(order["price"]) == pytest.approx(before + 0.01) for order in orders(service)))
    page.get_by_role("button", name=re.compile("^Cancel order at")).click()
    wait_until(lambda: not orders(service))
    wait_until(lambda: page.locator(".chip").count() == 0)


def test_an_order_stays_though_an_older_list_of_orders_comes_after_it(visit: Visit, service: Service) -> None:
    page, held = visit.page, []
    page.route(re.compile(r"/simulator/orders\?.*is_open=true"), lambda route: held.append((route, route.fetch())))
    visit.open()
    page.wait_for_selector(".bids .price-button")
    page.locator(".bids .price-button").nth(9).click()
    placed = wait_until(lambda: orders(service))
    assert [answer.json()["items"] for _, answer in held if answer.json()["items"]] == []
    row = page.locator(".data tbody tr").first
    wait_until(lambda: re.search(r"(?<!pending )new", row.inner_text()))
    for route, answer in held:
        route.fulfill(response=answer)
    held.clear()
    page.wait_for_timeout(500)
    chip = page.locator(".bids .chip")
    assert chip.count() == 1, placed
    page.get_by_role("button", name=re.compile("^Cancel order at")).click()
    wait_until(lambda: page.locator(".chip").count() == 0)


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
    # What the page was just asking of the market when it stopped is refused, and the browser says so.
    visit.said[:] = [line for line in visit.said if "409" not in line]
    page.get_by_role("button", name="Start the market").click()
    page.wait_for_selector(".bids .price-button")


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
