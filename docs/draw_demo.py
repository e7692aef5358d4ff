"""Draw docs/images/demo.svg: what `make demo` prints, as a terminal shows it.

Run it after a change of the demo: .venv/bin/python docs/draw_demo.py
"""

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parent / "images" / "demo.svg"
COLUMNS = 136


def main() -> None:
    """Run the demo in a fresh folder and draw its output."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "MM_DATA_DIR": folder, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)}
        command = [sys.executable, "-m", "market_maker", "demo"]
        output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    output = re.sub(r"\x1b\[\?25[lh]|\x1b\[2?[KA]|\r", "", output)
    lines = output.split("\n")  # of a progress bar only its last state is drawn
    is_bar = ["━" in line for line in lines]
    lines = [line for index, line in enumerate(lines) if not (is_bar[index] and is_bar[index + 1])]
    output = "\n".join(lines).replace(folder, "~/.local/share/market-maker")
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text("$ make demo", style="bold"))
    console.print(Text.from_ansi(output.strip()))
    drawn = console.export_svg(title="make demo")
    PICTURE.parent.mkdir(exist_ok=True)
    # The picture asks nobody for a font: the reader's own monospace one serves.
    PICTURE.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL), encoding="utf-8")
    print(f"{PICTURE}: {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
