"""Browsers that idle and browsers that never read do not make the service grow; benchmarks/soak.py does 24 hours of the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "soak.py"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_hours_of_a_market_with_twenty_browsers_do_not_grow_the_service(
    monkeypatch: pytest.MonkeyPatch, database_dsn: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("MM_DATABASE_URL", database_dsn)
    monkeypatch.setenv("MM_DATA_DIR", str(tmp_path))
    command = [sys.executable, str(PROGRAM), "--simulated-hours", "2", "--speed", "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=380)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["simulated_hours"] >= 2
    assert found["orders"] > 100
    assert found["evictions"] > 0, "browsers that never read are sent away"
