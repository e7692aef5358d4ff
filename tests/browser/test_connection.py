"""A connection that drops says so, and what is shown afterwards is the present state; keys; ten books a second."""

from __future__ import annotations

import hashlib

import httpx
import pytest

from browser.asking import orders, wait_until
from browser.conftest import Service, Visit
from e2e.service_process import DEFAULT_PAIR

KEY = "a-key-for-the-desk-9"
# The page's own work for each book: its handler of messages with all that is drawn because of it (Preact draws in a microtask),
# and what it does in timers and frames until the next book. Drawn in software, frames tell of the machine; this tells of the page.
MEASURE = """
window.work = {books: [], long: [], spent: 0};
const timed = (call) => (...args) => {
  const began = performance.now();
  const count = () => { window.work.spent += performance.now() - began; };
  try { return call(...args); } finally { queueMicrotask(() => queueMicrotask(count)); }
};
const frame = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (call) => frame(timed(call));
const timer = window.setTimeout.bind(window);
window.setTimeout = (call, ms, ...args) => timer(timed(call), ms, ...args);
const holder = Object.getOwnPropertyDescriptor(WebSocket.prototype, 'onmessage');
Object.defineProperty(WebSocket.prototype, 'onmessage', {...holder, set(call) {
  if (call === null) return holder.set.call(this, null);
  const inner = timed(call);
  holder.set.call(this, (event) => {
    if (event.data.includes('"simulator.book"')) { window.work.books.push(window.work.spent); window.work.spent = 0; }
    inner(event);
  });
}});
new PerformanceObserver((list) => window.work.long.push(...list.getEntries().map((e) => e.duration)))
  .observe({type: 'longtask'});
"""
FRAME_MS = 1000 / 60


def test_a_lost_service_is_told_and_its_return_brings_the_right_state(rough_visit: Visit, service: Service) -> None:
    page = rough_visit.open()
    page.wait_for_selector(".bids .price-button")
    page.locator(".bids .price-button").nth(12).click()
    page.locator(".bids .chip").wait_for()
    service.stop()
    page.wait_for_selector('[data-link="lost"]', timeout=20_000)
    assert "No connection" in page.get_by_role("alert").first.inner_text()
    assert "What you see is of" in page.get_by_role("alert").first.inner_text()
    assert page.locator(".ladder.stale").count() == 1
    service.start()
    # cancelled by somebody else before the page has found its way back, or while it does
    for order in orders(service):
        httpx.delete(f"{service.url}/api/v1/simulator/orders/{order['order_id']}?wait=true")
    page.wait_for_selector('[data-link="live"]', timeout=30_000)
    wait_until(lambda: page.locator(".chip").count() == 0)
    assert page.locator(".banner").count() == 0
    best = float(
        httpx.get(f"{service.url}/api/v1/simulator/orderbook/{DEFAULT_PAIR}?depth=1").json()["bids"][0]["price"]
    )
    shown = float(page.locator(".bids .price-button").first.inner_text())
    assert shown == pytest.approx(best, rel=0.02)


def test_a_key_is_asked_for_once_and_stays_out_of_addresses(rough_visit: Visit, service: Service) -> None:
    visit = rough_visit
    service.stop()
    service.settings = {**service.settings, "api_keys": f"admin:{hashlib.sha256(KEY.encode()).hexdigest()}"}
    service.start()
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(request.url))
    visit.page.on("websocket", lambda socket: asked.append(socket.url))
    page = visit.open()
    page.get_by_role("dialog").wait_for()
    page.get_by_label("Key", exact=True).fill("wrong")
    page.get_by_role("button", name="Use this key").click()
    page.get_by_text("does not know this key").wait_for()
    page.get_by_label("Key", exact=True).fill(KEY)
    page.get_by_role("button", name="Use this key").click()
    page.wait_for_selector('[data-link="live"]')
    page.wait_for_selector(".bids .price-button")
    page.reload()
    page.wait_for_selector(".bids .price-button")
    assert page.get_by_role("dialog").count() == 0
    assert not [url for url in asked if KEY in url]
    assert page.evaluate("JSON.stringify({...localStorage})").count(KEY) == 0
    assert page.context.cookies() == []


def test_forty_levels_ten_times_a_second_leave_time_for_every_frame(visit: Visit, service: Service) -> None:
    """The page's own work for one book fits into one frame of 60 a second, so that it makes nobody miss one."""
    visit.page.add_init_script(MEASURE)
    page = visit.open()
    page.wait_for_selector(".bids .price-button")
    page.wait_for_timeout(1_500)
    page.evaluate("work.books = []; work.long = []")
    page.wait_for_timeout(6_000)
    found = page.evaluate("work")
    wait_until(lambda: page.locator(".rows .row:not(.head)").count() >= 38)
    spent = sorted(found["books"][1:])
    quarter, median, late = (spent[int(share * len(spent))] for share in (0.25, 0.5, 0.95))
    print(f"measured: {len(spent)} books, median {median:.1f} ms, 95 % {late:.1f} ms, long tasks {found['long']}")
    assert len(spent) >= 30, "books come ten times a second at most"
    # Other programs of the machine can only make a book last longer.
    assert quarter < FRAME_MS
