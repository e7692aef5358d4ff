"""The quality of recorded days as one page that opens offline: verdicts, findings, coverage, silences and latencies drawn.

Plain HTML and SVG made here, a few kilobytes a day. Knows only the figures that `quality` gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

_COLORS = {"PASS": "#2e9e5b", "WARN": "#c98a00", "FAIL": "#c0392b"}
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; } .v { font-weight: 600; }
section { margin: 2rem 0; } figure { display: inline-block; margin: .5rem 1.5rem .5rem 0; } figcaption { font-size: .85em; opacity: .8; }
svg text { font: 11px system-ui, sans-serif; fill: currentColor; } .bg { fill: var(--soft); } .ax { stroke: currentColor; opacity: .5; }
summary { cursor: pointer; } pre { overflow: auto; font-size: .8em; }
"""
DAYS_DRAWN_MAX = 400


def quality_page(title: str, items: Sequence[dict[str, Any]]) -> str:
    """Return the page of tables of days, each with venue, symbol, table, day, verdict, findings, figures."""
    name = f"{escape(title)}: data quality"
    head = "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    parts = [
        f"{head}<title>{name}</title><style>{_STYLE}</style><h1>{name}</h1>",
        _overview(items),
    ]
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for item in items:
        groups.setdefault((item["venue"], item["symbol"], _table(item)), []).append(item)
    for (venue, symbol, table), days in groups.items():
        parts.append(f"<section><h2>{escape(venue)} {escape(symbol)} <small>{escape(table)}</small></h2>")
        parts.append(_findings([f for day in days for f in day.get("stream_findings", [])]))
        parts.append(_coverage(days) + _silences(days) + _latency(days))
        parts += [_day(day) for day in days[:DAYS_DRAWN_MAX]]
        parts.append("</section>")
    return "".join(parts) + "</html>\n"


def _table(item: dict[str, Any]) -> str:
    return str(item.get("table", ""))


def _overview(items: Sequence[dict[str, Any]]) -> str:
    counts = {verdict: sum(item["verdict"] == verdict for item in items) for verdict in _COLORS}
    rows = sum(item["figures"]["rows"] for item in items)
    told = " · ".join(f"<span class=v style='color:{_COLORS[v]}'>{n} {v}</span>" for v, n in counts.items())
    return f"<p>{len(items)} tables of days, {rows:,} rows: {told}</p>"


def _findings(findings: Sequence[dict[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td class=v style='color:{_COLORS[f['verdict']]}'>{f['verdict']}<td>{escape(f['rule'])}<td>{escape(f['text'])}"
        for f in findings
    )
    return f"<table>{rows}</table>" if rows else ""


def _day(item: dict[str, Any]) -> str:
    color = _COLORS[item["verdict"]]
    body = _findings(item["findings"]) or "<p>Nothing found.</p>"
    figures = "".join(f"<tr><td>{escape(k)}<td class=n>{escape(_shown(v))}" for k, v in item["figures"].items())
    is_open = " open" if item["verdict"] != "PASS" else ""
    return (
        f"<details{is_open}><summary><b>{escape(item['day'])}</b> <span class=v style='color:{color}'>{item['verdict']}</span>"
        f" {item['figures']['rows']:,} rows</summary>{body}<details><summary>all figures</summary><table>{figures}</table>"
        "</details></details>"
    )


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}" if isinstance(value, float) else str(value)


def _bars(title: str, bars: Sequence[tuple[str, float, str, str]], top: float) -> str:
    """Return columns (label, value, text shown, colour) drawn against `top`."""
    if not bars or top <= 0:
        return ""
    width = max(14, min(60, 640 // len(bars)))
    height, total = 120, width * len(bars) + 10
    drawn = []
    for i, (label, value, text, color) in enumerate(bars):
        tall = max(1.0, height * min(1.0, value / top)) if value > 0 else 0.0
        x = 5 + i * width
        drawn.append(
            f"<g><title>{escape(label)}: {escape(text)}</title><rect class=bg x={x} y=0 width={width - 2} height={height} />"
            f"<rect x={x} y={height - tall:.1f} width={width - 2} height={tall:.1f} fill='{color}' /></g>"
        )
        if width >= 34 or len(bars) <= 12:
            middle = x + width / 2 - 1
            drawn.append(f"<text x={middle} y={height + 14} text-anchor=middle>{escape(label[-6:])}</text>")
            drawn.append(
                f"<text x={middle} y={max(12, height - tall - 4):.0f} text-anchor=middle>{escape(text)}</text>"
            )
    return (
        f"<figure><svg width={total} height={height + 20} role=img aria-label='{escape(title)}'>{''.join(drawn)}</svg>"
        f"<figcaption>{escape(title)}</figcaption></figure>"
    )


def _coverage(days: Sequence[dict[str, Any]]) -> str:
    known = [(d["day"], 1 - d["figures"]["uncovered_share"]) for d in days if "uncovered_share" in d["figures"]]
    bars = [(day, share, f"{share:.2%}", _COLORS["PASS" if share >= 0.99 else "WARN"]) for day, share in known]
    return _bars("share of the session with known prices, by day", bars[:DAYS_DRAWN_MAX], 1.0)


def _silences(days: Sequence[dict[str, Any]]) -> str:
    totals: dict[str, int] = {}
    for day in days:
        for limit, count in day["figures"].get("silences_longer_than_s", {}).items():
            totals[limit] = totals.get(limit, 0) + count
    bars = [(f">{limit}s", float(count), str(count), "#4a7fc1") for limit, count in totals.items()]
    return _bars("silences longer than so many seconds", bars, max([count for _, count, _, _ in bars], default=0.0))


def _latency(days: Sequence[dict[str, Any]]) -> str:
    found = [(d["day"], d["figures"]["latency_ns"]["median"] / 1e6) for d in days if "latency_ns" in d["figures"]]
    if not any(value for _, value in found):
        return ""
    bars = [(day, abs(ms), f"{ms:.3f} ms", _COLORS["FAIL"] if ms < 0 else "#4a7fc1") for day, ms in found]
    return _bars(
        "median feed latency by day, ms (red: received before it happened)",
        bars[:DAYS_DRAWN_MAX],
        max(abs(m) for _, m in found),
    )
