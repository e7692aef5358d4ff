"""Draw docs/images/backtest_cost.svg: how the cost of a backtest grows with events, and of a sweep with parameter sets.

Run it on the figures of the benchmark, CPU milliseconds:
.venv/bin/python docs/draw_cost.py '{"events": [[125000, 4.5], ...], "sets": [[1, 20], ...]}'
"""

import json
import math
import sys
from pathlib import Path

PICTURE = Path(__file__).parent / "images" / "backtest_cost.svg"
WIDTH, HEIGHT, LEFT, BOTTOM = 360, 240, 56, 40


def chart(points: list[list[float]], title: str, x_name: str, offset: int) -> str:
    """Return one chart, both axes logarithmic, with a dashed line where cost would grow in proportion."""
    xs, ys = [math.log10(x) for x, _ in points], [math.log10(y) for _, y in points]
    low, high = min(ys[0], ys[-1]), max(*ys, ys[0] + xs[-1] - xs[0])

    def place(x: float, y: float) -> str:
        across = LEFT + (x - xs[0]) / (xs[-1] - xs[0]) * (WIDTH - LEFT - 20)
        return f"{offset + across:.1f},{24 + (high - y) / (high - low) * (HEIGHT - 24 - BOTTOM):.1f}"

    line = " ".join(place(x, y) for x, y in zip(xs, ys, strict=True))
    straight = f"{place(xs[0], ys[0])} {place(xs[-1], ys[0] + xs[-1] - xs[0])}"
    drawn = [f"<text x='{offset + LEFT}' y='14' class='t'>{title}</text>"]
    drawn.append(f"<polyline points='{straight}' class='d'/><polyline points='{line}' class='l'/>")
    for x, y, (count, ms) in zip(xs, ys, points, strict=True):
        at_x, at_y = place(x, y).split(",")
        drawn.append(
            f"<circle cx='{at_x}' cy='{at_y}' r='3'/><text x='{at_x}' y='{float(at_y) - 8:.1f}' class='m'>{ms:g}</text>"
        )
        name = f"{count / 1e6:g}M" if count >= 1e6 else f"{count / 1e3:g}k" if count >= 1e4 else f"{count:g}"
        drawn.append(f"<text x='{at_x}' y='{HEIGHT - 22}' class='m'>{name}</text>")
    drawn.append(f"<text x='{offset + (LEFT + WIDTH) / 2}' y='{HEIGHT - 4}' class='m'>{x_name}</text>")
    return "".join(drawn)


def main(figures: dict[str, list[list[float]]]) -> None:
    """Draw both charts side by side."""
    style = (
        "text{font:12px system-ui,sans-serif;fill:currentColor}.t{font-weight:600}.m{text-anchor:middle}"
        ".l{fill:none;stroke:#2f7dd1;stroke-width:2}.d{fill:none;stroke:currentColor;opacity:.4;stroke-dasharray:4}circle{fill:#2f7dd1}"
    )
    parts = chart(figures["events"], "One set: CPU ms by events", "events", 0)
    parts += chart(figures["sets"], "500k events: CPU ms by parameter sets", "parameter sets", WIDTH)
    PICTURE.write_text(
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {2 * WIDTH} {HEIGHT}' color='#555'><style>{style}</style>{parts}</svg>\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
