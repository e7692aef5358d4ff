"""What each kind of user does on the pages, to the end: what was clicked has happened at the service, and the page says so."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from browser.asking import api, buy, metric, orders, send, trade, wait_until
from browser.conftest import NARROW, Service, Visit
from e2e.service_process import DEFAULT_PAIR, DEFAULT_STRATEGY

Sample = Callable[[str], Path]


def session(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = api(service, "simulator/sessions")["items"][0]
    return found


def panel(page: Any, title: str) -> Any:
    return page.locator("section.panel", has=page.get_by_role("heading", name=title, exact=True))


def figure(text: str) -> float:
    """Return a number as the pages write it: thin spaces between thousands, a real minus."""
    return float(text.replace("\u202f", "").replace("\u2212", "-").replace("+", ""))


def test_a_flash_crash_is_started_watched_and_stopped(visit: Visit, service: Service) -> None:
    page = visit.open("session")
    box = panel(page, "Scenarios")
    box.get_by_label("Scenario").select_option("flash_crash")
    box.get_by_text("Parameters", exact=True).click()
    fall, seconds = box.get_by_label("fall share"), box.get_by_label("fall s", exact=True)
    fall.fill("0.9")
    assert box.get_by_role("button", name="Start scenario").is_disabled(), "at most a half"
    fall.fill("0.06")
    seconds.fill("3")
    before = float(session(service)["reference_price"])
    box.get_by_role("button", name="Start scenario").click()
    row = box.locator("tbody tr", has_text="flash crash")
    row.get_by_text("running").wait_for()
    row.get_by_text(re.compile("fall|hold")).wait_for()
    page.get_by_role("link", name="Watch it on the market page").click()
    bid = page.locator(".strip .fact", has_text="Bid").locator("dd")
    wait_until(lambda: figure(bid.inner_text()) < 0.96 * before, 30)
    visit.picture("flash_crash")
    page.get_by_role("link", name="Session").click()
    row.get_by_role("button", name="Stop flash_crash").click()
    row.get_by_text("stopped").wait_for()
    found = api(service, f"simulator/sessions/{session(service)['session_id']}/scenarios")["items"]
    assert [each["state"] for each in found] == ["STOPPED"]
    assert found[0]["parameters"]["fall"] == 0.06


def test_phases_are_entered_and_told_on_the_market_page(visit: Visit, service: Service) -> None:
    page = visit.open("session")
    phases = page.get_by_role("group", name="Phase")
    phases.get_by_role("button", name="pre open").click()
    wait_until(lambda: session(service)["phase"] == "PRE_OPEN")
    page.get_by_role("link", name="Market", exact=True).click()
    page.locator(".strip").get_by_text("pre open").wait_for()
    visit.picture("auction")
    page.get_by_role("link", name="Session").click()
    phases.get_by_role("button", name="continuous").click()
    wait_until(lambda: session(service)["phase"] == "CONTINUOUS")
    page.get_by_role("link", name="Market", exact=True).click()
    page.wait_for_selector(".strip")
    wait_until(lambda: page.locator(".strip").get_by_text("pre open").count() == 0)


def test_speed_recording_and_realism(visit: Visit, service: Service) -> None:
    page = visit.open("session")
    page.get_by_role("button", name="2×", exact=True).click()
    wait_until(lambda: session(service)["speed"] == 2)
    page.get_by_role("button", name="1×", exact=True).click()
    wait_until(lambda: session(service)["speed"] == 1)
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_role("button", name=re.compile("End recording")).wait_for()
    assert session(service)["recording"]
    page.get_by_role("button", name=re.compile("End recording")).click()
    wait_until(lambda: not session(service)["recording"])
    wait_until(lambda: session(service)["trades"] > 200, 60)
    page.get_by_role("button", name="Measure", exact=True).click()
    page.get_by_role("button", name="Measure again").wait_for(timeout=60_000)
    told = api(service, f"simulator/realism/{DEFAULT_PAIR}")["market"]["metrics"]
    measured = [each for each in told if any(one["value"] is not None for one in each["figures"].values())]
    gauges = page.locator(".gauge")
    assert abs(gauges.count() - len(measured)) <= 2, "a moment later another one may be had"
    waits = page.locator(".gauge", has_text="time between market orders").locator("b").inner_text()
    assert figure(waits) > 0
    assert page.locator(".gauge .badge.pass").count() > 0
    visit.whole_picture("session")


def test_markets_of_all_modes_are_started(visit: Visit, service: Service) -> None:
    pair = send(service, "POST", "pairs", new_pair("SOL-USDT"))
    page = visit.open("session")
    for mode in ("Stress", "Custom"):
        for each in api(service, "simulator/sessions")["items"]:
            if each["pair_id"] == pair["pair_id"]:
                send(service, "PATCH", f"simulator/sessions/{each['session_id']}", {"state": "STOPPED"})
        page.reload()
        page.get_by_label("Pair", exact=True).select_option(pair["pair_id"])
        page.get_by_role("button", name=mode, exact=True).click()
        page.get_by_label("Seed", exact=True).fill("77")
        if mode == "Stress":
            page.get_by_label("Scenario").select_option("wide_spread")
        else:
            page.get_by_text("flow", exact=True).click()
            page.get_by_label(re.compile("^market rate")).fill("3.5")
        page.get_by_role("button", name="Start the market").click()
        panel(page, "Market").get_by_text(mode.lower(), exact=True).wait_for()
        begun = next(each for each in api(service, "simulator/sessions")["items"] if each["pair_id"] == pair["pair_id"])
        assert (begun["mode"], begun["seed"]) == (mode.upper(), 77)
        if mode == "Custom":
            assert begun["parameters"]["flow"]["market_rate"] == 3.5


def new_pair(symbol: str) -> dict[str, Any]:
    base, quote = symbol.split("-")
    return {
        "symbol": symbol, "base": base, "quote": quote, "tick_size": "0.01", "lot_size": "0.001", "initial_price": "150",
    }  # fmt: skip


def test_accounts_are_opened_filled_used_and_begun_anew(visit: Visit, service: Service) -> None:
    page = visit.open("risk")
    box = panel(page, "Accounts")
    box.get_by_label("New account").fill("desk two")
    box.get_by_label("First balance").fill("70000 USDT")
    box.get_by_role("button", name="Add", exact=True).click()
    row = box.locator("tbody tr", has_text="desk two")
    row.wait_for()
    account = next(each for each in api(service, "accounts")["items"] if each["name"] == "desk two")
    box.get_by_label("Account", exact=True).select_option(account["account_id"])
    box.get_by_label("Amount").fill("-500.25")
    box.get_by_role("button", name="Transfer").click()
    wait_until(lambda: "69\u202f499.75" in row.inner_text())
    page.get_by_role("link", name="Market", exact=True).click()
    panel(page, "Order").get_by_label("Account", exact=True).select_option(account["account_id"])
    page.get_by_role("button", name="Market", exact=True).click()
    page.get_by_role("button", name="Buy", exact=True).click()
    held = wait_until(
        lambda: [each for each in api(service, "positions")["items"] if each["account_id"] == account["account_id"]]
    )
    assert Decimal(held[0]["quantity"]) > 0
    page.get_by_role("link", name="Risk").click()
    row.get_by_role("button", name="Reset").click()
    page.get_by_role("dialog").get_by_role("button", name="Begin anew").click()
    wait_until(lambda: "70\u202f000" in row.inner_text())
    held = [each for each in api(service, "positions")["items"] if each["account_id"] == account["account_id"]]
    assert Decimal(held[0]["quantity"]) == 0


def test_a_strategy_is_made_by_its_form_started_live_watched_and_stopped(visit: Visit, service: Service) -> None:
    page = visit.open("strategy")
    box = panel(page, "New strategy")
    box.get_by_label("Name", exact=True).fill("tight quotes")
    box.get_by_label("Kind").select_option("inventory_skew")
    box.get_by_label("half spread ticks").fill("-5")
    assert box.get_by_role("button", name="Add the strategy").is_disabled()
    box.get_by_label("half spread ticks").fill("5")
    box.get_by_label("order lots").fill("200")
    box.get_by_label("max inventory lots").fill("2000")
    box.get_by_role("button", name="Add the strategy").click()
    row = panel(page, "Strategies").locator("tbody tr", has_text="tight quotes")
    row.get_by_role("button", name="Start live").click()
    detail = panel(page, "tight quotes, live")
    detail.wait_for()
    detail.get_by_text(re.compile(r" at \d+")).first.wait_for()
    run = wait_until(lambda: busy_run(service), 60)
    shown = detail.locator(".fact", has_text="Fills").locator("dd")
    wait_until(lambda: int(shown.inner_text().split(",")[0]) >= run["fills"])
    detail.locator("table tbody tr").first.wait_for()
    net, spread, inventory, fees = (
        figure(detail.locator(".fact", has_text=name).locator("dd").first.inner_text())
        for name in ("Net", "Spread earned", "Inventory moved", "Fees")
    )
    assert spread + inventory - fees == pytest.approx(net, abs=0.02)
    visit.whole_picture("strategy")
    row.get_by_role("button", name="Stop").click()
    detail.get_by_text("stopped").wait_for()
    stopped = api(service, f"simulator/strategies/{run['run_id']}")
    assert stopped["state"] == "STOPPED"
    wait_until(lambda: api(service, f"simulator/strategies/{run['run_id']}")["open_orders"] == 0)
    row.get_by_role("button", name="Start live").wait_for()


def busy_run(service: Service) -> Any:
    runs = api(service, "simulator/strategies")["items"]
    return next((run for run in runs if run["fills"] > 3 and run["markouts"]), None)


def test_the_kill_switch_asks_stops_everything_and_is_released(visit: Visit, service: Service) -> None:
    book = api(service, f"simulator/orderbook/{DEFAULT_PAIR}?depth=9")
    order = {
        "pair_id": DEFAULT_PAIR,
        "side": "BUY",
        "type": "LIMIT",
        "amount": "0.01",
        "price": book["bids"][8]["price"],
    }
    send(service, "POST", "simulator/orders", order)
    page = visit.open("risk")
    page.get_by_role("button", name="Stop everything").click()
    ask = page.get_by_role("dialog")
    assert ask.get_by_role("button", name="Stop everything").is_disabled()
    ask.get_by_label("Reason").fill("a drill")
    ask.get_by_label("Write STOP to confirm").fill("stop")
    visit.picture("kill_switch")
    ask.get_by_role("button", name="Stop everything").click()
    page.get_by_text("Engaged: new orders are refused, a drill.").wait_for()
    wait_until(lambda: not orders(service))
    assert api(service, "risk/kill-switch")["items"][0]["reason"] == "a drill"
    with pytest.raises(AssertionError, match="kill"):
        send(service, "POST", "simulator/orders", order)
    page.get_by_role("button", name="Release", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Release it").click()
    page.get_by_text("Cancels every open order").wait_for()
    assert not api(service, "risk/kill-switch")["engaged"]
    send(service, "POST", "simulator/orders", order)


def test_a_kill_switch_of_one_account_is_named_and_hides_no_other(visit: Visit, service: Service) -> None:
    """It was shown as if everything were stopped, could not be released, and took the button that stops everything away."""
    account = send(service, "POST", "accounts", {"name": "careless"})["account_id"]
    scope = {"scope": "ACCOUNT", "scope_id": account}
    send(service, "POST", "risk/kill-switch", {"engaged": True, "reason": "too fast", **scope})
    page = visit.open("risk")
    page.get_by_text("Engaged for account careless: new orders are refused, too fast.").wait_for()
    page.get_by_role("button", name="Stop everything").click()
    ask = page.get_by_role("dialog")
    ask.get_by_label("Write STOP to confirm").fill("STOP")
    ask.get_by_role("button", name="Stop everything").click()
    page.get_by_text("Engaged: new orders are refused, by hand, in the dashboard.").wait_for()
    assert {each["scope"] for each in api(service, "risk/kill-switch")["items"]} == {"ALL", "ACCOUNT"}
    for left in (1, 0):
        page.get_by_role("button", name="Release", exact=True).first.click()
        page.get_by_role("dialog").get_by_role("button", name="Release it").click()
        wait_until(lambda left=left: len(api(service, "risk/kill-switch")["items"]) == left)
    page.get_by_text("Cancels every open order").wait_for()


def test_a_limit_fills_its_bar_warns_is_breached_holds_and_is_reset(visit: Visit, service: Service) -> None:
    pair = send(service, "POST", "pairs", new_pair("LTC-USDT"))["pair_id"]
    wait_until(lambda: api(service, f"simulator/orderbook/{pair}")["asks"])
    buy(service, "1", pair)
    page = visit.open("risk")
    box = panel(page, "Limits")
    box.get_by_label("New limit").select_option("MAX_POSITION")
    box.get_by_label("Threshold").fill("2")
    box.get_by_label("Scope").select_option("PAIR")
    box.get_by_label("Which").select_option(pair)
    box.get_by_role("button", name="Add the limit").click()
    bar = box.locator(".limit-bar").first
    bar.wait_for()
    marks = bar.evaluate("bar => [...bar.querySelectorAll('.mark')].map(mark => mark.style.left)")
    assert marks == ["64%", "80%"], "80 % and 100 % of a bar that ends at 125 %"
    buy(service, "0.7", pair)
    wait_until(lambda: "85 % used" in (bar.get_attribute("aria-label") or ""), 30)
    box.locator(".badge", has_text="warn").wait_for()
    alerts = panel(page, "Alerts").locator("tbody tr")
    alerts.filter(has_text="warning").first.wait_for()
    # An order that would go beyond a limit is refused; one below what is held is breached by the next fill.
    box.get_by_label("Threshold").fill("1.5")
    box.get_by_label("On a breach").select_option("REDUCE")
    box.get_by_role("button", name="Add the limit").click()
    wait_until(lambda: box.locator(".limit-bar").count() == 2)
    trade(service, "SELL", "0.1", pair)
    row = box.locator("tbody tr", has=page.locator(".limit-bar.BREACHED"))
    # By the fill, or at the latest by the schedule of every minute.
    row.locator(".badge", has_text="breached").wait_for(timeout=75_000)
    alerts.filter(has_text="critical").first.wait_for()
    width = row.locator(".limit-bar i").evaluate("bar => bar.style.width")
    assert float(width.removesuffix("%")) == pytest.approx(100 * 1.6 / 1.5 / 1.25, abs=0.1)
    visit.whole_picture("risk")
    assert "CRITICAL" in [each["severity"] for each in api(service, "risk/alerts")["items"]]
    row.get_by_role("button", name="Reset").click()
    wait_until(lambda: {each["hold"] for each in api(service, "risk/limits")["items"]} == {"ACTIVE"})
    for left in (1, 0):
        box.get_by_role("button", name=re.compile("Remove limit")).first.click()
        wait_until(lambda left=left: box.locator(".limit-bar").count() == left)
    box.get_by_text("No limit is set.").wait_for()


def test_models_are_tested_and_storms_computed(visit: Visit, service: Service) -> None:
    # a market that has begun within a minute keeps ten closes a second: a history long enough in fifteen seconds
    pair = send(service, "POST", "pairs", new_pair("XRP-USDT"))["pair_id"]
    wait_until(lambda: api(service, f"simulator/orderbook/{pair}")["asks"])
    buy(service, "2", pair)
    page = visit.open("risk")
    page.locator("tbody tr", has_text="XRP-USDT").get_by_role("button").first.click()
    started = session_of(service, pair)["step"]
    wait_until(lambda: session_of(service, pair)["step"] > started + 100, 40)
    page.get_by_role("button", name="Compute").click()
    storms = page.get_by_role("group", name="Given storms")
    storms.get_by_text("CRASH").wait_for()
    position = next(each for each in api(service, "positions")["items"] if each["pair_id"] == pair)
    fall = next(
        each for each in send(service, "POST", "risk/stress", {"position_id": position["position_id"]})["fixed"]
        if each["scenario"] == "DOWN_10"
    )  # fmt: skip
    shown = storms.locator("tr", has_text="DOWN_10").locator("td").nth(1).inner_text()
    assert figure(shown) == pytest.approx(float(fall["loss"]), rel=0.02)
    wait_until(lambda: session_of(service, pair)["step"] > started + 340, 40)
    page.get_by_role("button", name="100", exact=True).click()
    page.get_by_role("button", name="Test the models").click()
    lights = page.get_by_role("group", name="Models and their lights")
    lights.get_by_text("historical").wait_for(timeout=60_000)
    told = api(service, f"risk/model-tests/{position['position_id']}")["items"][0]["models"]
    for model in told:
        row = lights.locator("tr", has_text=model["method"].lower())
        assert model["light"].lower() in row.locator("td").nth(1).inner_text()
        assert row.locator(".lights .badge").count() == len(model["judgements"])
    visit.whole_picture("model_tests")
    page.get_by_role("button", name="Assess the risk").click()
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Risk report").click()
    opened.value.get_by_text("XRP-USDT").first.wait_for()
    opened.value.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    assert opened.value.evaluate("document.documentElement.scrollWidth") == NARROW[0]
    opened.value.close()
    # What the schedule saves for limits on the sum came last, and was shown as if it were the position's.
    account = send(service, "POST", "accounts", {"name": "second holder", "balance": "1000000 USDT"})["account_id"]
    send(service, "POST", "positions", {"pair_id": pair, "account_id": account, "quantity": "5"})
    page.wait_for_timeout(1000)
    alone = send(service, "POST", "risk/assessment", {"position_id": position["position_id"]})
    whole = send(service, "POST", "risk/assessment", {"position_id": position["position_id"], "scope": "PAIR"})
    value = (
        page.locator("section.panel", has_text="What it may lose")
        .locator(".fact", has_text="Of a value of")
        .locator("dd")
    )
    wait_until(lambda: figure(value.inner_text()) == pytest.approx(float(alone["position_value"]), rel=0.001))
    page.get_by_label("Of", exact=True).select_option("PAIR")
    wait_until(lambda: figure(value.inner_text()) == pytest.approx(float(whole["position_value"]), rel=0.001))
    page.get_by_text("2 positions of its pair: ").wait_for()


def session_of(service: Service, pair_id: str) -> dict[str, Any]:
    return next(each for each in api(service, "simulator/sessions")["items"] if each["pair_id"] == pair_id)


def test_a_file_is_imported_with_progress_replayed_compared_and_swept(
    visit: Visit, service: Service, sample_data: Path
) -> None:
    name = put_into_inbox(service, sample_data)
    page = visit.open("data")
    page.get_by_label("File in the inbox").fill(name)
    page.get_by_role("button", name="Import", exact=True).click()
    row = page.locator("tbody tr", has_text=name)
    row.get_by_text("negative_latency").wait_for(timeout=60_000)
    page.get_by_label("File in the inbox").fill(name)
    page.get_by_text("What the file does not say, and repairs").click()
    page.get_by_label("shift local times").check()
    page.get_by_role("button", name="Import", exact=True).click()
    row.get_by_text("completed").wait_for(timeout=60_000)
    assert page.evaluate("progressSeen").count("") < len(page.evaluate("progressSeen"))
    imported = api(service, "market-data/imports")["items"][0]
    assert (imported["state"], imported["rows"] > 1000) == ("COMPLETED", True)
    recorded = api(service, "market-data/catalogue")["items"]
    verdicts = {each["quality"].get("verdict") for each in recorded if each["import_id"] == imported["import_id"]}
    wait_until(
        lambda: (
            verdicts
            & set(page.locator(".calendar .day").evaluate_all("days => days.flatMap(day => [...day.classList])"))
        )
    )
    visit.whole_picture("data")
    pair = next(each for each in api(service, "pairs")["items"] if not each["is_simulated"])
    strategy = {
        "name": "replayed", "kind": "inventory_skew", "pair_id": pair["pair_id"],
        "parameters": {"half_spread_ticks": 20, "order_lots": 10},
    }  # fmt: skip
    send(service, "POST", "strategies", strategy)
    strategy |= {"name": "wider", "parameters": {"half_spread_ticks": 60, "order_lots": 10}}
    send(service, "POST", "strategies", strategy)
    page.get_by_role("link", name="Backtests").click()
    for which in ("replayed", "wider"):
        run_and_wait(page, which)
    assert page.evaluate("progressSeen.some((text) => /%|waits/.test(text))")
    compare_two(page, service)
    visit.whole_picture("backtests")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Report", exact=True).first.click()
    opened.value.get_by_role("heading", name=re.compile("wider")).first.wait_for()
    opened.value.close()
    sweep(visit, service)


def put_into_inbox(service: Service, sample_data: Path) -> str:
    file = min((sample_data / "binance_collector" / "usdm").glob("*.gz"))
    inbox = service.folder / "inbox"
    inbox.mkdir(exist_ok=True)
    shutil.copy(file, inbox / file.name)
    return file.name


def run_and_wait(page: Any, which: str) -> None:
    form = panel(page, "New backtest")
    value = form.get_by_label("Strategy").locator("option", has_text=which).get_attribute("value")
    form.get_by_label("Strategy").select_option(value)
    run = page.get_by_role("button", name="Run the backtest")
    wait_until(run.is_enabled)
    run.click()
    row = panel(page, "Runs").locator("tbody tr", has_text=which).first
    row.get_by_text("completed").wait_for(timeout=90_000)


def compare_two(page: Any, service: Service) -> None:
    boxes = panel(page, "Runs").get_by_role("checkbox")
    boxes.nth(0).check()
    boxes.nth(1).check()
    table = page.get_by_role("group", name="Two runs beside each other")
    row = table.locator("tr", has_text="net pnl").first
    row.wait_for()
    newest = api(service, "backtest/runs")["items"][:2]
    nets = [float(api(service, f"backtest/runs/{run['run_id']}/result")["summary"]["net_pnl"]) for run in newest]
    shown = [figure(row.locator("td").nth(k).inner_text()) for k in (1, 2)]
    assert sorted(shown) == pytest.approx(sorted(nets), rel=1e-4)
    assert figure(row.locator("td").nth(3).inner_text()) == pytest.approx(shown[1] - shown[0], rel=1e-3, abs=1e-3)


def sweep(visit: Visit, service: Service) -> None:
    page = visit.page
    tried, ended = metric(service, "sweep_sets_total"), metric(service, 'sweeps_total{outcome="completed"}')
    page.get_by_role("button", name="Sweeps", exact=True).click()
    form = panel(page, "New sweep")
    value = form.get_by_label("Strategy").locator("option", has_text="replayed").get_attribute("value")
    form.get_by_label("Strategy").select_option(value)
    form.get_by_label("Parameter across").select_option("half_spread_ticks")
    form.get_by_label("Its values").nth(0).fill("10:50:10")
    form.get_by_label("Parameter down").select_option("order_lots")
    form.get_by_label("Its values").nth(1).fill("5, 10")
    run = form.get_by_role("button", name="Run the sweep")
    wait_until(run.is_enabled)
    run.click()
    panel(page, "Sweeps").locator("tbody tr").first.get_by_text("completed").wait_for(timeout=90_000)
    heat = page.locator("table.heat")
    wait_until(lambda: heat.locator("td").count() == 10)
    found = api(service, "backtest/sweeps")["items"][0]
    trials = api(service, f"backtest/sweeps/{found['sweep_id']}/trials?limit=100")["items"]
    best = max(trials, key=lambda trial: float(trial["summary"]["net_pnl"]))
    outlined = heat.locator("td.own").first.get_attribute("title") or ""
    assert float(outlined.split()[0]) == pytest.approx(float(best["summary"]["net_pnl"]))
    assert heat.locator("thead th").all_inner_texts()[1:] == ["10", "20", "30", "40", "50"]
    assert heat.locator("tbody th").all_inner_texts() == ["5", "10"]
    visit.whole_picture("sweeps")
    wait_until(lambda: metric(service, "sweep_sets_total") == tried + 10)
    wait_until(lambda: metric(service, 'sweeps_total{outcome="completed"}') == ended + 1)
    wait_until(lambda: metric(service, 'backtest_jobs{kind="sweep",state="running"}') == 0)


def test_a_recording_is_played_as_a_market(visit: Visit, service: Service, sample_data: Path) -> None:
    name = put_into_inbox(service, sample_data)
    send(service, "POST", "market-data/imports", {"path": name, "offset_negative_latency": True, "replace": True})
    found = lambda: next((each for each in api(service, "pairs")["items"] if not each["is_simulated"]), None)  # noqa: E731
    pair = wait_until(found, 60)
    wait_until(lambda: api(service, f"market-data/catalogue?pair_id={pair['pair_id']}")["items"], 60)
    page = visit.open("market")
    types = page.locator(".ticket .segments").first.get_by_role("button")
    types.get_by_text("Stop", exact=True).click()
    page.get_by_role("link", name="Session", exact=True).click()
    page.get_by_label("Pair", exact=True).select_option(pair["pair_id"])
    start = page.get_by_role("button", name="Start the market")
    page.get_by_role("button", name="Recording", exact=True, pressed=True).wait_for()
    wait_until(start.is_enabled)
    page.get_by_label("Speed").fill("20")
    start.click()
    bar = page.get_by_role("progressbar", name="How much of the recording has been played")
    bar.wait_for()
    wait_until(lambda: int(bar.get_attribute("aria-valuenow") or 0) > 0, 30)
    begun = session_of(service, pair["pair_id"])
    assert (begun["playback"]["pace"], begun["speed"]) == ("CLOCK", 20)
    # Nothing is offered that a recording refuses.
    offered = page.get_by_label("Scenario", exact=True).locator("option").all_inner_texts()
    assert offered == ["feed gap", "latency spike", "order rejects", "partial outage"]
    assert page.get_by_role("button", name="Record", exact=True).count() == 0
    assert page.get_by_role("button", name="Measure").count() == 0
    assert page.get_by_role("heading", name="Phase").count() == 0
    page.get_by_role("link", name="Market", exact=True).click()
    wait_until(lambda: page.locator(".bids .price-button").count() >= 10)
    shown = float(page.locator(".bids .price-button").first.inner_text())
    best = float(api(service, f"simulator/orderbook/{pair['pair_id']}?depth=1")["bids"][0]["price"])
    assert shown == pytest.approx(best, rel=0.01)
    # The ticket offered stops, which the market refused; what it held of another market is not kept.
    assert types.all_inner_texts() == ["Limit", "Market"]
    assert types.get_by_text("Limit", exact=True).get_attribute("aria-pressed") == "true"
    visit.picture("recording")
    send(service, "PATCH", f"simulator/sessions/{begun['session_id']}", {"state": "STOPPED"})
    page.get_by_text("No market runs for").wait_for()


def test_the_system_page_shows_what_the_service_does(visit: Visit, service: Service) -> None:
    page = visit.open("system")
    panel(page, "Health").locator("tbody tr").first.wait_for()
    before = metric(service, "simulated_orders_total")
    buy(service, "0.01")
    tile = page.locator(".tile", has_text="Orders a second")
    wait_until(lambda: figure(tile.locator(".note").inner_text().split()[0]) >= before + 1)
    row = panel(page, "Latency").locator("tr", has_text="Order, until it is durable")
    wait_until(lambda: row.locator("td").nth(2).inner_text() != "–")
    assert 0 < figure(row.locator("td").nth(2).inner_text()) < 5_000
    assert panel(page, "Health").locator(".fact", has_text="Bus").locator("dd").inner_text() == "connected"
    assert "0 running" in panel(page, "Health").locator(".fact", has_text="Sweeps").locator("dd").inner_text()
    visit.whole_picture("system")


def test_the_default_strategy_can_be_started_live_for_its_market(visit: Visit, service: Service) -> None:
    """A market that has stopped takes no strategy: the button says why instead of asking in vain."""
    page = visit.open("strategy")
    row = panel(page, "Strategies").locator("tbody tr", has_text="default")
    wait_until(lambda: row.get_by_role("button", name="Start live").is_enabled())
    send(
        service, "PATCH", f"simulator/sessions/{session_of(service, DEFAULT_PAIR)['session_id']}", {"state": "STOPPED"}
    )
    wait_until(lambda: row.get_by_role("button", name="Start live").is_disabled())
    assert row.get_by_role("button", name="Start live").get_attribute("title") == "No market runs for its pair"
    send(service, "POST", "simulator/sessions", {"pair_id": DEFAULT_PAIR, "initial_price": "50000"})
    wait_until(lambda: row.get_by_role("button", name="Start live").is_enabled())
    started = send(service, "POST", "simulator/strategies", {"strategy_id": DEFAULT_STRATEGY})
    row.get_by_role("button", name="Stop").wait_for()
    send(service, "DELETE", f"simulator/strategies/{started['run_id']}")
