"""The words of a grid and of a cluster: what they mean, and what is said of a wrong one."""

from __future__ import annotations

from functools import partial

import pytest

from market_maker.backtest.service import RunRequest
from market_maker.cli_sweep import parse_grid, run_sweep
from market_maker.domain.errors import InvalidRequest
from market_maker.settings import load_settings


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("a=1:10:1", list(range(1, 11))),
        ("a=5,10,20", [5, 10, 20]),
        ("a=1:3", [1, 2, 3]),
        ("a=7", [7]),
        ("a=5:5:1", [5]),
        ("a=0:1:0.25", [0, 0.25, 0.5, 0.75, 1]),
        # Decimal steps: 0.1 + 0.1 + 0.1 is 0.3, and the end is reached.
        ("a=0.1:0.3:0.1", [0.1, 0.2, 0.3]),
        ("a=1:10:4", [1, 5, 9]),
        ("a=-2:2:2", [-2, 0, 2]),
        ("a=1e3, 2.0", [1000, 2]),
    ],
)
def test_a_word_gives_values(word: str, values: list[float]) -> None:
    found = parse_grid([word])
    assert found == {"a": values}
    assert [type(value) for value in found["a"]] == [type(value) for value in values]


def test_names_keep_their_order_and_a_grid_may_be_as_large_as_allowed() -> None:
    found = parse_grid(["b=1,2", "a=1:50000:1"])
    assert list(found) == ["b", "a"]
    assert len(found["a"]) == 50_000


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], r"--grid: 0 sets|--grid: 1 sets"),
        (["a"], r"--grid: a is not allowed; allowed: NAME=FIRST:LAST:STEP"),
        (["=1"], "--grid: =1"),
        (["a="], "--grid: a="),
        (["a=x"], "--grid a: x is not allowed"),
        (["a=1,,2"], "--grid a"),
        (["a=1:2:3:4"], "--grid a: 1:2:3:4"),
        (["a=1:2:0"], "--grid a: 1:2:0 is not allowed; allowed: FIRST not above LAST, and a STEP above 0"),
        (["a=1:2:-1"], "STEP above 0"),
        (["a=2:1:1"], "FIRST not above LAST"),
        (["a=1:1000000:1"], "--grid a: .* allowed: 100,000 values at most"),
        (["a=0:1:1e-12"], "100,000 values at most"),
        (["a=1,1.0"], "--grid a: 1,1.0 is not allowed; allowed: each value once"),
        (["a=1", "a=2"], "--grid a: 2 is not allowed; allowed: each parameter once"),
        (["a=nan"], "--grid a: nan .*a finite number"),
        (["a=1e400"], "a finite number"),
        (["a=0:inf:1"], "a finite number"),
        (["a=1:50001:1", "b=1,2"], "--grid: 100,002 sets is not allowed; .*100,000 sets at most"),
    ],
)
def test_a_wrong_word_is_named(words: list[str], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        parse_grid(words)


@pytest.mark.parametrize("address", ["", "tcp://10.0.0.5:8786", "tls://scheduler.desk.example:443", "tcp://[::1]:8786"])
def test_a_cluster_has_an_address(address: str) -> None:
    settings = load_settings(overrides=[f"backtest.cluster_address={address}"], environment={})
    assert settings.backtest.cluster_address == address


@pytest.mark.parametrize(
    "address",
    ["host:8786", "tcp://host", "http://host:8786", "tcp://:8786", "tcp://host:port", "tcp://a b:1", "threads"],
)
def test_another_address_is_named(address: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"backtest\.cluster_address: {address} is not allowed"):
        load_settings(overrides=[f"backtest.cluster_address={address}"], environment={})


def test_threads_are_of_this_machine_and_not_of_a_cluster() -> None:
    settings = load_settings(overrides=["backtest.cluster_address=tcp://h:1"], environment={})
    with pytest.raises(InvalidRequest, match="--threads: 2 is not allowed; allowed: none with the cluster tcp://h:1"):
        run_sweep(settings, "mine", None, partial(RunRequest, start_ts=0, end_ts=1), {}, threads=2, report=None)
