"""Charts as SVG text: panels of lines, steps, dots and bars with linear or logarithmic axes.

Owns scales, axes and the drawing of points. Knows nothing of what they mean. The same points give the same text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

WIDTH, HEIGHT = 440, 280
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 30, 44
COLOURS = ("#2f7dd1", "#d9772a", "#3f9d5c", "#9a5fc0", "#888888")
POINTS_MAX = 1500
"""A line with more points is drawn with every n-th of them."""
STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#777}.t{font-weight:600;font-size:12px}.m{text-anchor:middle}"
    ".e{text-anchor:end}.g{stroke:#999;stroke-opacity:.3;stroke-width:1}.l{fill:none;stroke-width:1.6}"
)

Kind = Literal["line", "steps", "dots", "bars"]


@dataclass(frozen=True, slots=True)
class Series:
    """What is drawn in a panel.

    Parameters
    ----------
    xs, ys : (n,) numbers; for `bars` xs are the (n + 1,) edges. A point that is not finite is left out, and so is one at
        or below 0 on a logarithmic axis
    kind : how
    colour : index into COLOURS
    is_dashed : of lines
    """

    name: str
    xs: ArrayLike
    ys: ArrayLike
    kind: Kind = "line"
    colour: int = 0
    is_dashed: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart. `note`: a line of text in place of a chart without points."""

    title: str
    x_name: str
    y_name: str
    series: Sequence[Series]
    x_log: bool = False
    y_log: bool = False
    note: str = "no data"


class _Axis(NamedTuple):
    """From values to a place in pixels."""

    low: float
    high: float
    is_log: bool
    start: float
    end: float

    def place(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return pixels."""
        scaled = np.log10(values) if self.is_log else values
        return self.start + (scaled - self.low) / (self.high - self.low) * (self.end - self.start)

    def marks(self) -> list[float]:
        """Return four to eight round values."""
        if self.is_log and self.high - self.low >= 1.0:
            every = max(1, math.ceil((self.high - self.low) / 6))
            return [
                10.0**power for power in range(math.ceil(self.low), math.floor(self.high) + 1) if power % every == 0
            ]
        low, high = (10**self.low, 10**self.high) if self.is_log else (self.low, self.high)
        raw = (high - low) / 5
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
        return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def picture(panels: Sequence[Panel], *, columns: int = 2) -> str:
    """Return panels side by side as an SVG document, `columns` to a row."""
    rows = math.ceil(len(panels) / columns)
    parts = [_panel(panel, (i % columns) * WIDTH, (i // columns) * HEIGHT) for i, panel in enumerate(panels)]
    size = f"viewBox='0 0 {columns * WIDTH} {rows * HEIGHT}' width='{columns * WIDTH}' height='{rows * HEIGHT}'"
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size}><style>{STYLE}</style>{''.join(parts)}</svg>\n"


def _panel(panel: Panel, left: int, top: int) -> str:
    drawn = [(series, *_points(panel, series)) for series in panel.series]
    drawn = [(series, xs, ys) for series, xs, ys in drawn if len(ys)]
    texts = [f"<text x='{left + LEFT}' y='{top + 16}' class='t'>{escape(panel.title)}</text>"]
    if not drawn:
        middle = f"x='{left + WIDTH / 2:.1f}' y='{top + HEIGHT / 2:.1f}'"
        return "".join([*texts, f"<text {middle} class='m'>{escape(panel.note)}</text>"])
    x_values = np.concatenate([xs for _, xs, _ in drawn])
    y_values = np.concatenate([ys for _, _, ys in drawn])
    if any(series.kind == "bars" for series, _, _ in drawn) and not panel.y_log:
        y_values = np.append(y_values, 0.0)
    x_axis = _axis(x_values, panel.x_log, left + LEFT, left + WIDTH - RIGHT, margin=0.0)
    y_axis = _axis(y_values, panel.y_log, top + HEIGHT - BOTTOM, top + TOP, margin=0.05)
    texts += _frame(panel, x_axis, y_axis, left, top)
    texts += [_draw(series, xs, ys, x_axis, y_axis) for series, xs, ys in drawn]
    texts += _legend([series for series, _, _ in drawn], left, top)
    return "".join(texts)


def _points(panel: Panel, series: Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    xs, ys = np.asarray(series.xs, np.float64), np.asarray(series.ys, np.float64)
    if series.kind == "bars":
        return (xs, np.nan_to_num(ys)) if len(ys) else (xs[:0], ys)
    good = np.isfinite(xs) & np.isfinite(ys)
    good &= (xs > 0.0) if panel.x_log else True
    good &= (ys > 0.0) if panel.y_log else True
    xs, ys = xs[good], ys[good]
    every = max(1, math.ceil(len(xs) / POINTS_MAX))
    return xs[::every], ys[::every]


def _axis(values: NDArray[np.float64], is_log: bool, start: float, end: float, *, margin: float) -> _Axis:
    scaled = np.log10(values[values > 0.0]) if is_log else values
    low, high = float(scaled.min()), float(scaled.max())
    if high - low <= 1e-12 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    room = margin * (high - low)
    return _Axis(low - room, high + room, is_log, start, end)


def _frame(panel: Panel, x_axis: _Axis, y_axis: _Axis, left: int, top: int) -> list[str]:
    bottom, texts = top + HEIGHT - BOTTOM, []
    for mark in x_axis.marks():
        x = float(x_axis.place(np.array(mark)))
        texts.append(f"<path d='M{x:.1f} {top + TOP}V{bottom}' class='g'/>")
        texts.append(f"<text x='{x:.1f}' y='{bottom + 15}' class='m'>{_number(mark)}</text>")
    for mark in y_axis.marks():
        y = float(y_axis.place(np.array(mark)))
        texts.append(f"<path d='M{left + LEFT} {y:.1f}H{left + WIDTH - RIGHT}' class='g'/>")
        texts.append(f"<text x='{left + LEFT - 5}' y='{y + 4:.1f}' class='e'>{_number(mark)}</text>")
    middle = top + (TOP + HEIGHT - BOTTOM) / 2
    x_name, y_name = escape(panel.x_name), escape(panel.y_name)
    texts.append(f"<text x='{left + (LEFT + WIDTH - RIGHT) / 2:.1f}' y='{bottom + 32}' class='m'>{x_name}</text>")
    turned = f"transform='rotate(-90 {left + 13} {middle:.1f})'"
    texts.append(f"<text x='{left + 13}' y='{middle:.1f}' class='m' {turned}>{y_name}</text>")
    return texts


def _draw(series: Series, xs: NDArray[np.float64], ys: NDArray[np.float64], x_axis: _Axis, y_axis: _Axis) -> str:
    colour = COLOURS[series.colour % len(COLOURS)]
    if series.kind == "bars":
        floor = y_axis.start if y_axis.is_log else float(y_axis.place(np.array(0.0)))
        tops = (
            np.where(ys > 0.0, y_axis.place(np.where(ys > 0.0, ys, 1.0)), floor) if y_axis.is_log else y_axis.place(ys)
        )
        edges = x_axis.place(xs)
        outline = "".join(f"V{y:.1f}H{x:.1f}" for x, y in zip(edges[1:], tops, strict=True))
        return (
            f"<path d='M{edges[0]:.1f} {floor:.1f}{outline}V{floor:.1f}Z' fill='{colour}' fill-opacity='.35' "
            f"stroke='{colour}' stroke-opacity='.8'/>"
        )
    places = list(zip(x_axis.place(xs), y_axis.place(ys), strict=True))
    if series.kind == "dots":
        return "".join(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='2.4' fill='{colour}'/>" for x, y in places)
    line = f"M{places[0][0]:.1f} {places[0][1]:.1f}"
    line += "".join(f"H{x:.1f}V{y:.1f}" if series.kind == "steps" else f"L{x:.1f} {y:.1f}" for x, y in places[1:])
    dashes = " stroke-dasharray='5 3'" if series.is_dashed else ""
    return f"<path d='{line}' class='l' stroke='{colour}'{dashes}/>"


def _legend(series: Sequence[Series], left: int, top: int) -> list[str]:
    named = [each for each in series if each.name]
    texts, x = [], left + WIDTH - RIGHT
    # From the right, so that the title keeps the left; a letter of 11 px is at most about 7 px wide.
    for each in reversed(named):
        x -= 7 * len(each.name) + 18
        colour = COLOURS[each.colour % len(COLOURS)]
        texts.append(f"<rect x='{x}' y='{top + 20}' width='8' height='8' fill='{colour}'/>")
        texts.append(f"<text x='{x + 11}' y='{top + 28}'>{escape(each.name)}</text>")
    return texts


def _number(value: float) -> str:
    if value == 0.0:
        return "0"
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e5 else f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-")
