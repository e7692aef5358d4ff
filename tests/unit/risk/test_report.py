"""The risk page shows what it is given, tells what is missing, and lets no text become markup."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from market_maker.risk.models import Model
from market_maker.risk.report import risk_page
from market_maker.risk.validation.rolling import rolling_forecasts

FIGURES: dict[str, Any] = {
    "value_at_risk": "123.456789", "expected_shortfall": "234.5", "drawdown": "99", "position_value": "-5000", "as_of_ts": "1700000000000000000",
    "confidence_level": "0.95", "time_horizon": "1d", "method": "HISTORICAL", "observations": 250, "sampling_interval": "1m",
    "scaling": 37.9, "scaling_rule": "SQUARE_ROOT", "convention": "LOWER_QUANTILE",
    "scope": "ACCOUNT", "positions": 2,
    "components": {"items": [
        {"symbol": "A<b>", "component_var": "100", "component_es": "200", "incremental_es": "150"},
        {"symbol": "B", "component_var": "-40", "component_es": "-50", "incremental_es": "-60"},
    ]},
    "stress": {
        "fixed": [{"scenario": "crash", "loss": "1000", "market": "900", "liquidation": "100"}],
        "historical": [{"from_ts": "1690000000000000000", "to_ts": "1690000060000000000", "loss": "77"}],
        "reverse": {"loss": "5000", "moves": [{"factor": "BTC", "move": -0.25}]},
    },
    "margin": {"reason": "no equity"}, "concentration": {"herfindahl": 0.5},
}  # fmt: skip
LIMIT = {
    "kind": "MAX_VAR", "scope": "ALL", "threshold": "200", "warn_share": "0.8", "state": "WARN", "value": "170",
    "evaluated_ts": "1700000000000000000",
}  # fmt: skip
TEST = {
    "models": [
        {"method": "NORMAL", "light": "RED", "exceptions": 30, "observations": 250, "adjusted_p_value": 1e-5, "reasons": ["independence"]},
        {"method": "GARCH", "reason": "too few"},
    ]
}  # fmt: skip


class _Balanced(HTMLParser):
    """Fails on an element that is closed by another one's tag."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_everything_is_shown() -> None:
    returns = np.random.default_rng(4).standard_t(3, 400) * 0.01
    forecasts = [rolling_forecasts(returns, 0.95, Model.NORMAL, window=100)]
    alert = {
        "kind": "MAX_LOSS",
        "scope": "PAIR",
        "severity": "CRITICAL",
        "value": "7",
        "threshold": "5",
        "raised_ts": "1680000000000000000",
    }
    page = risk_page(FIGURES, name="1 A<B", limits=[LIMIT], alerts=[alert], test=TEST, forecasts=forecasts)
    beyond = int((forecasts[0].losses > forecasts[0].value_at_risk).sum())
    for text in (
        "123.4568", "-5,000", "95%", f"NORMAL: {beyond} of 300 beyond", "about 15.0 are expected", "width:85.0%", "left:80.0%",
        "class='RED'", "too few", "crash", "2023-07-22", "BTC -25.00%", "concentration: herfindahl", "A&lt;b&gt;", "1 A&lt;B",
        "with all of its account, 2 positions", "MAX_LOSS (pair)", "2023-03-28", "bar HEDGE'><i style='width:25.0%'",
    ):  # fmt: skip
        assert text in page, text
    assert "A<b>" not in page
    for outside in ("http:", "https:", "src="):
        assert outside not in page.replace("http://www.w3.org/2000/svg", "")
    parser = _Balanced()
    parser.feed(page)
    assert parser.open == []


def test_a_fall_that_no_price_can_take_is_told() -> None:
    stress = FIGURES["stress"] | {"reverse": {"loss": "5000", "moves": [{"factor": "BTC", "move": -4.4}]}}
    figures = FIGURES | {"stress": stress, "scope": "POSITION"}
    page = risk_page(figures, name="x", limits=[], alerts=[], test=None, forecasts=[])
    assert "BTC -440.00%; no price falls by more than 100 %" in page
    assert "with all of its" not in page


@pytest.mark.parametrize("section", ["components", "stress"])
def test_what_is_missing_is_told(section: str) -> None:
    figures = FIGURES | {section: {"reason": "no such thing"}}
    page = risk_page(figures, name="x", limits=[], alerts=[], test=None, forecasts=[], note="history is short")
    assert "no such thing" in page
    assert "history is short" in page
    assert "Not tested yet" in page
