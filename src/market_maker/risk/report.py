"""The risk page of a position: one HTML file without a network, of saved figures, limits, alerts and rolling forecasts.

Pure: what it shows comes in as JSON values and arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from html import escape
from typing import Any

import numpy as np

from market_maker.domain.units import format_instant
from market_maker.performance.charts import Panel, Series, picture
from market_maker.risk.validation.forecasts import Forecasts

_STYLE = """
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:940px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
th,td{text-align:right;padding:.25rem .6rem;border-bottom:1px solid #8884}th:first-child,td:first-child{text-align:left}
.big{display:flex;gap:2.5rem;flex-wrap:wrap}.big b{display:block;font-size:1.5rem}.note{color:#777}
.bar{position:relative;background:#8883;height:.9rem;min-width:12rem}.bar i{position:absolute;inset:0 auto 0 0;background:#3f9d5c}
.bar.WARN i{background:#c9951a}.bar.BREACHED i{background:#c8453c}.bar.HEDGE i{background:#3b76c4}.bar u{position:absolute;top:0;bottom:0;width:1px;background:#777}
.wide{overflow-x:auto}.GREEN{color:#2c8a49}.YELLOW{color:#a97400}.RED{color:#c8453c}svg{max-width:100%;height:auto}
"""


def risk_page(
    figures: Mapping[str, Any],
    *,
    name: str,
    limits: Sequence[Mapping[str, Any]],
    alerts: Sequence[Mapping[str, Any]],
    test: Mapping[str, Any] | None,
    forecasts: Sequence[Forecasts],
    note: str = "",
) -> str:
    """Return the page.

    Parameters
    ----------
    figures : saved ones, as `storage.metrics_data`
    name : of the position, for people
    limits, alerts : those that cover it, as JSON values
    test : the newest test of models, None before the first
    forecasts : rolling ones over its history; of the position's value, as shares
    note : why there are none
    """
    parts = [
        _head(figures, name),
        _exceedances(forecasts, note),
        _models(test),
        _limits(limits),
        _alerts(alerts),
        _components(figures.get("components") or {}),
        _stress(figures.get("stress") or {}),
        _others(figures),
    ]
    title = escape(f"Risk of {name}")
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>{''.join(parts)}</body></html>\n"
    )


def _head(figures: Mapping[str, Any], name: str) -> str:
    shown = (("Value at risk", "value_at_risk"), ("Expected shortfall", "expected_shortfall"), ("Largest fall", "drawdown"),
             ("Position value", "position_value"))  # fmt: skip
    currency = escape(figures.get("currency") or "")
    boxes = "".join(
        f"<div>{title}<b>{_amount(figures[key])} <small>{currency}</small></b></div>" for title, key in shown
    )
    scope = figures.get("scope", "POSITION")
    whose = "" if scope == "POSITION" else f" with all of its {scope.lower()}, {figures['positions']} positions"
    text = (
        f"{name}{whose}, {format_instant(int(figures['as_of_ts']))[:19]} UTC: {Decimal(figures['confidence_level']):%} over"
        f" {figures['time_horizon']}, {figures['method']}, {figures['observations']} returns of {figures['sampling_interval']}"
        f" scaled by {figures['scaling']:.4g} ({figures.get('scaling_rule', '')}), quantile {figures['convention']}; amounts in"
        f" {figures.get('currency') or 'quote currency'}."
    )
    return f"<div class='big'>{boxes}</div><p class='note'>{escape(text)}</p>"


def _exceedances(forecasts: Sequence[Forecasts], note: str) -> str:
    title = "<h2>Losses against their forecasts</h2>"
    if not forecasts:
        return f"{title}<p class='note'>{escape(note or 'no forecasts')}</p>"
    panels = []
    for each in forecasts:
        at = np.arange(each.losses.size)
        beyond = each.losses > each.value_at_risk
        panels.append(
            Panel(
                f"{each.model}: {int(beyond.sum())} of {at.size} beyond",
                "observation",
                "loss, share of the value",
                [
                    Series("loss", at, each.losses, colour=4),
                    Series("VaR", at, each.value_at_risk, colour=0),
                    Series("beyond", at[beyond], each.losses[beyond], kind="dots", colour=1),
                ],
            )
        )
    expected = forecasts[0].losses.size * (1.0 - forecasts[0].confidence)
    return (
        f"{title}<p class='note'>One interval ahead, at {forecasts[0].confidence:.4g}: about {expected:.1f} are expected"
        f" beyond.</p>{picture(panels)}"
    )


def _models(test: Mapping[str, Any] | None) -> str:
    title = "<h2>Tests of the models</h2>"
    if test is None:
        return f"{title}<p class='note'>Not tested yet: POST /api/v1/risk/model-tests.</p>"
    rows = []
    for each in test["models"]:
        if "reason" in each:
            rows.append([escape(each["method"]), "", "", "", escape(each["reason"])])
            continue
        p_value = each["adjusted_p_value"]
        rows.append([
            escape(each["method"]), f"<b class='{each['light']}'>{each['light'].lower()}</b>",
            f"{each['exceptions']} of {each['observations']}", "" if p_value is None else f"{p_value:.3g}",
            escape(", ".join(each["reasons"])),
        ])  # fmt: skip
    return title + _table(["Model", "Light", "Beyond", "Adjusted p-value", "Against it"], rows)


def _limits(limits: Sequence[Mapping[str, Any]]) -> str:
    if not limits:
        return "<h2>Limits</h2><p class='note'>None covers it.</p>"
    rows = []
    for each in limits:
        value, threshold = each["value"], Decimal(each["threshold"])
        share = 0.0 if value is None or not threshold else float(Decimal(value) / threshold)
        warn = 100.0 * float(Decimal(each["warn_share"]))
        bar = (
            f"<div class='bar {each['state']}'><i style='width:{min(100.0, max(0.0, 100.0 * share)):.1f}%'></i>"
            f"<u style='left:{warn:.1f}%'></u></div>"
        )
        told = "never" if each["evaluated_ts"] is None else format_instant(int(each["evaluated_ts"]))[:19]
        rows.append([
            escape(f"{each['kind']} ({each['scope'].lower()})"), bar, "" if value is None else _amount(value),
            _amount(threshold), escape(each["state"]), told,
        ])  # fmt: skip
    return "<h2>Limits</h2>" + _table(["Limit", "Used", "Value", "Threshold", "State", "Evaluated"], rows)


def _alerts(alerts: Sequence[Mapping[str, Any]]) -> str:
    if not alerts:
        return "<h2>Open alerts</h2><p class='note'>None.</p>"
    rows = [
        [
            escape(f"{each['kind']} ({each.get('scope', 'POSITION').lower()})"), escape(each["severity"]),
            _amount(each["value"]), _amount(each["threshold"]), format_instant(int(each["raised_ts"]))[:19],
        ]
        for each in alerts
    ]  # fmt: skip
    return "<h2>Open alerts</h2>" + _table(["Of", "Severity", "Value", "Threshold", "Since"], rows)


def _components(section: Mapping[str, Any]) -> str:
    title = "<h2>Parts of the figures</h2>"
    if "items" not in section:
        return f"{title}<p class='note'>{escape(str(section.get('reason', 'none were saved')))}</p>"
    items = section["items"]
    largest = max((abs(float(each["component_es"])) for each in items), default=0.0) or 1.0
    rows = [
        [
            escape(each["symbol"]),
            _part_bar(float(each["component_es"]) / largest),
            _amount(each["component_var"]), _amount(each["component_es"]), _amount(each["incremental_es"]),
        ]
        for each in items
    ]  # fmt: skip
    note = "<p class='note'>Blue: it hedges the others. Incremental: the whole less the whole without it.</p>"
    return title + _table(["Position", "", "Component VaR", "Component ES", "Incremental ES"], rows) + note


def _part_bar(share: float) -> str:
    kind = " HEDGE" if share < 0.0 else ""
    return f"<div class='bar{kind}'><i style='width:{100.0 * abs(share):.1f}%'></i></div>"


def _stress(section: Mapping[str, Any]) -> str:
    title = "<h2>Storms</h2>"
    if "fixed" not in section:
        return f"{title}<p class='note'>{escape(str(section.get('reason', 'none were saved')))}</p>"
    rows = [
        [escape(str(each["scenario"])), _amount(each["loss"]), _amount(each["market"]), _amount(each["liquidation"])]
        for each in section["fixed"]
    ]
    rows += [
        [f"history, {format_instant(int(each['from_ts']))[:19]}", _amount(each["loss"]), "", ""]
        for each in section["historical"]
    ]
    reverse = section["reverse"]
    text = reverse.get("reason") or (
        f"{_amount(reverse['loss'])} are lost by the smallest of all moves, "
        + ", ".join(f"{each['factor']} {each['move']:+.2%}" for each in reverse["moves"])
        + ("; no price falls by more than 100 %" if any(each["move"] < -1.0 for each in reverse["moves"]) else "")
    )
    return (
        f"{title}{_table(['Scenario', 'Loss', 'Of it market', 'Getting out'], rows)}<p class='note'>{escape(text)}</p>"
    )


def _others(figures: Mapping[str, Any]) -> str:
    """Return the plain values of the other sections."""
    rows = []
    for section in ("drawdowns", "liquidity", "inventory", "worst_case", "concentration", "margin"):
        for name, value in (figures.get(section) or {}).items():
            if isinstance(value, str | int | float) and not name.endswith("_id"):
                shown = f"{value:.6g}" if isinstance(value, float) else _amount(value)
                rows.append([escape(f"{section}: {name}".replace("_", " ")), shown])
    return "<h2>Beside them</h2>" + _table(["Figure", "Value"], rows)


def _amount(value: Any) -> str:
    """Return a decimal text with groups and at most four places, of less than 1 eight: coins are dear; other text as it is."""
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        return escape(str(value))
    places = 8 if number.is_finite() and abs(number) < 1 else 4
    return f"{number:,.{places}f}".rstrip("0").rstrip(".") if number.is_finite() else escape(str(value))


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
