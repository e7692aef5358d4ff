"""A strategy in a file that its owner names: known by its kind, run like any other, refused with the reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from market_maker.domain.errors import InvalidRequest
from market_maker.strategies import contract
from market_maker.strategies.actions import decode, make_view, new_actions
from market_maker.strategies.compilation import compiled
from market_maker.strategies.contract import add_strategy_file, find_strategy, strategy_names, wake

SOURCE = """
from market_maker.strategies.actions import place
from market_maker.strategies.contract import Parameter, StrategyKind


def on_wake(view, params, memory, actions):
    place(actions, 1, 0, 0, 0, view.best_bid_ticks - int(params[0]), 1)


KIND = StrategyKind(
    kind="NAME",
    summary="Bids behind the touch.",
    parameters=(
        Parameter("behind_ticks", "integer", 2, 1, 10**6, "ticks", "how far behind"),
        Parameter("interval_ns", "integer", 1000, 1, 10**12, "ns", "time between wake-ups"),
    ),
    source="FILE:on_wake",
)
"""


def written(folder: Path, name: str, kind: str | None = None, source: str = SOURCE) -> Path:
    path = folder / f"{name}.py"
    path.write_text(source.replace("NAME", kind or name).replace("FILE", name), "utf-8")
    return path


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "_FROM_FILES", {})
    for name in [name for name in sys.modules if name.startswith("own_maker")]:
        monkeypatch.delitem(sys.modules, name)
    find_strategy.cache_clear()


def test_a_file_is_a_strategy_plain_and_compiled(tmp_path: Path) -> None:
    add_strategy_file(written(tmp_path, "own_maker_one"))
    assert "own_maker_one" in strategy_names()
    prepared = find_strategy("own_maker_one").prepare({"behind_ticks": 3})
    view = make_view(now_ts=0, bids=[(100, 5)], asks=[(104, 5)])
    assert [order.price_ticks for order in wake(prepared, view)] == [97]
    view, actions = make_view(now_ts=0, bids=[(100, 5)], asks=[(104, 5)]), new_actions()
    import numpy as np

    compiled(prepared)(view, prepared.vector, np.zeros(prepared.memory_size), actions)
    assert [order.price_ticks for order in decode(actions)] == [97]


def test_the_same_file_may_be_named_twice(tmp_path: Path) -> None:
    path = written(tmp_path, "own_maker_two")
    assert add_strategy_file(path) is add_strategy_file(path)


@pytest.mark.parametrize(
    ("name", "kind", "source", "reason"),
    [
        ("json", None, SOURCE, "there is a module json already"),
        ("own_maker_3", "glft", SOURCE, "there is a strategy glft already"),
        ("own_maker_4", None, "KIND = 5", "KIND, a StrategyKind"),
        ("own_maker_5", None, SOURCE.replace("FILE:", "other:"), 'source is "own_maker_5:"'),
        ("own_maker_6", None, "import nothing_such", "No module named"),
        ("own_maker_7", None, "def (", "SyntaxError"),
        ("own-maker", None, SOURCE, "a Python file whose name is an identifier"),
    ],
)
def test_what_is_no_strategy_is_refused(tmp_path: Path, name: str, kind: str, source: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        add_strategy_file(written(tmp_path, name, kind, source))
    assert reason in caught.value.detail
    assert str(caught.value.errors[0].field) == "strategy_files"


def test_another_file_of_the_same_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    add_strategy_file(written(tmp_path / "a", "own_maker_8"))
    with pytest.raises(InvalidRequest, match="there is a module own_maker_8 already"):
        add_strategy_file(written(tmp_path / "b", "own_maker_8"))


def test_a_file_in_the_present_folder_is_no_other_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m market_maker`, started beside the file, found it as a module and refused it for a namesake of itself."""
    path = written(tmp_path, "own_maker_11")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert add_strategy_file(path).kind
    import own_maker_11  # type: ignore[import-not-found]

    assert own_maker_11.KIND.source == "own_maker_11:on_wake"
    assert add_strategy_file(path) is own_maker_11.KIND


def test_the_command_knows_it(tmp_path: Path) -> None:
    path = written(tmp_path, "own_maker_9")
    done = subprocess.run(
        [sys.executable, "-m", "market_maker", "strategy", "kinds", "own_maker_9", "--set", f"strategy_files={path}"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "behind_ticks" in done.stdout


def test_the_text_of_an_own_strategy_is_known_and_that_of_a_shipped_one_is_the_versions(tmp_path):
    one, other = (add_strategy_file(written(tmp_path, name)) for name in ("own_maker_20", "own_maker_21"))
    assert one.source_hash() == one.source_hash() != other.source_hash()
    assert find_strategy("grid").source_hash() is None
