"""A connection that drops says so, and what is shown afterwards is the present state; keys; ten books a second."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest

from browser.conftest import Service, Visit
from browser.test_pages import orders, wait_until
from e2e.service_process import DEFAULT_PAIR

KEY = "a-key-for-the-desk-9"
MEASURE = """async () => {
  let frames = 0, books = 0, longest = 0, last = performance.now();
  const target = document.querySelector('.rows');
  const watch = new MutationObserver(() => books++);
  watch.observe(target, {subtree: true, childList: true, characterData: true, attributes: true});
  const until = last + 5000;
  await new Promise((done) => {
    const frame = (now) => {
      longest = Math.max(longest, now - last); last = now; frames++;
      if (now < until) requestAnimationFrame(frame); else done();
    };
    requestAnimationFrame(frame);
  });
  watch.disconnect();
  return {fps: frames / 5, books: books / 5, longest, rows: document.querySelectorAll('.rows .row:not(.head)').length};
}"""


def test_a_lost_service_is_told_and_its_return_brings_the_right_state(visit: Visit, service: Service) -> None:
    page = visit.open()
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


def test_a_key_is_asked_for_once_and_stays_out_of_addresses(visit: Visit, service: Service) -> None:
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


def test_forty_levels_ten_times_a_second_cost_little(visit: Visit) -> None:
    """Time of the browser's own account, since frames a second tell of the machine that the tests share."""
    page = visit.open()
    page.wait_for_selector(".bids .price-button")
    page.wait_for_timeout(1_000)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = busy(session)
    found: Any = page.evaluate(MEASURE)
    spent = (busy(session) - before) / 5
    print(f"measured: {found}, {spent * 1e3:.0f} ms of a second on the page's thread")
    assert found["rows"] >= 38
    assert found["books"] > 3
    assert spent < 0.35, "a frame of 60 a second that is not missed leaves the thread idle most of the time"


def busy(session: Any) -> float:
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    return float(metrics["TaskDuration"])
