"""The paper's experiment: its tables, the exact law of profit and inventory, plain forms of the kernel, the shipped strategy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kernel_forms import interpreted
from market_maker import cli_avellaneda
from market_maker.domain.errors import InvalidRequest
from market_maker.strategies.contract import wake
from market_maker.synthetic.poisson import experiment, kernel
from market_maker.synthetic.poisson.experiment import PAPER, TICKS_PER_UNIT, Model, moments, run_experiment, trade
from strategy_builders import flat_view, prepared, prices

MANY = 20_000


def symmetric_ticks(model):
    return model.spread * TICKS_PER_UNIT


def traded(model, draws, spread_ticks, run=None, monkeypatch=None):
    results = np.empty((len(draws), kernel.RESULTS), np.int64)
    track = np.zeros((model.steps + 1, kernel.TRACKED), np.int64)
    if run is not None:
        monkeypatch.setattr(experiment, "compiled_run", lambda: run)
    trade(model, draws, spread_ticks, results, track)
    return results, track


def plain_profits(model, draws, *, is_symmetric):
    """Return profits and inventories, in real numbers and all paths at once: the model as the paper words it."""
    paths, steps = draws.shape[:2]
    dt, s, q, x = model.horizon_s / steps, np.full(paths, model.mid), np.zeros(paths), np.zeros(paths)
    for i in range(steps):
        left = model.horizon_s - i * dt
        if is_symmetric:
            r, spread = (
                s,
                model.gamma * model.sigma**2 * model.horizon_s / 2
                + 2 / model.gamma * np.log(1 + model.gamma / model.k),
            )
        else:
            r = s - q * model.gamma * model.sigma**2 * left
            spread = model.gamma * model.sigma**2 * left + 2 / model.gamma * np.log(1 + model.gamma / model.k)
        ask, bid = r + spread / 2, r - spread / 2
        sold = draws[:, i, 0] < model.intensity * np.exp(-model.k * (ask - s)) * dt
        bought = draws[:, i, 1] < model.intensity * np.exp(-model.k * (s - bid)) * dt
        x += sold * ask - bought * bid
        q += bought.astype(float) - sold
        s = s + np.where(draws[:, i, 2] < 0.5, 1.0, -1.0) * model.sigma * math.sqrt(dt)
    return x + q * s, q


def exact_law(model, *, is_symmetric):
    """Return mean and deviation of the final profit and of the inventory, without chance.

    Distances from the mid depend on inventory and time alone, so that the inventory is a Markov chain. Beside its
    distribution go the first two moments of the profit marked at the mid.
    """
    most = 80
    q, dt = np.arange(-most, most + 1), model.dt
    weight, first, second = np.zeros(len(q)), np.zeros(len(q)), np.zeros(len(q))
    weight[most] = 1.0
    for i in range(model.steps):
        left = model.horizon_s - i * dt
        risk = model.gamma * model.sigma**2
        level = 2 / model.gamma * np.log(1 + model.gamma / model.k)
        half = 0.5 * (level + risk * (0.5 * model.horizon_s if is_symmetric else left))
        shift = np.zeros(len(q)) if is_symmetric else q * risk * left
        gains = (half - shift, half + shift)
        chance = [np.minimum(1.0, model.intensity * np.exp(-model.k * gain) * dt) for gain in gains]
        after = np.zeros((3, len(q)))
        for sold in (0, 1):
            for bought in (0, 1):
                w = (chance[0] if sold else 1 - chance[0]) * (chance[1] if bought else 1 - chance[1])
                gain = sold * gains[0] + bought * gains[1]
                noise = ((q + bought - sold) * model.sigma) ** 2 * dt
                moved = (
                    weight * w,
                    (first + weight * gain) * w,
                    (second + 2 * first * gain + weight * (gain**2 + noise)) * w,
                )
                after += [np.roll(each, bought - sold) for each in moved]
        weight, first, second = after
    mean, held = first.sum(), weight @ q
    return mean, math.sqrt(second.sum() - mean**2), held, math.sqrt(weight @ q**2 - held**2)


@pytest.mark.parametrize("gamma", [0.1, 0.01, 1.0])
def test_the_papers_tables_come_out(gamma):
    found = run_experiment(Model(gamma=gamma), seed=0)
    assert found.largest_distance is not None
    assert found.largest_distance < 3.0
    for name, outcome in found.outcomes.items():
        assert outcome.paper_spread == PAPER[gamma][name].spread
        assert outcome.spread == pytest.approx(outcome.paper_spread, abs=0.005)


def test_a_wrong_strategy_is_far_from_the_paper(monkeypatch):
    """The distance must be able to fail: twice the inventory term, and the tables are missed by far."""
    plain = interpreted(kernel)
    right = plain.reservation_price
    monkeypatch.setattr(plain, "reservation_price", lambda s, q, *rest: right(s, 2.0 * q, *rest))
    monkeypatch.setattr(experiment, "compiled_run", lambda: plain.run)
    found = run_experiment(Model(), paths=300)
    assert found.largest_distance is not None
    assert found.largest_distance > 3.0


@pytest.mark.parametrize("gamma", [0.1, 0.01, 1.0])
@pytest.mark.parametrize("strategy", ["inventory", "symmetric"])
def test_the_exact_law(gamma, strategy):
    model = Model(gamma=gamma)
    figures = run_experiment(model, paths=MANY, seed=7).outcomes[strategy].figures
    law = exact_law(model, is_symmetric=strategy == "symmetric")
    for name, expected in zip(experiment.FIGURES, law, strict=True):
        assert abs(figures[name].value - expected) < 4.0 * figures[name].error, name


def test_the_symmetric_strategy_by_hand():
    # delta = 0.745385 (gamma 0.1); p = 140 x 0.005 x exp(-1.5 x 0.745385) = 0.228835; 200 steps, two sides:
    # profit 400 p delta = 68.2282; the inventory's variance is 200 x 2 p (1 - p) = 70.588.
    mean, _, held, deviation = exact_law(Model(), is_symmetric=True)
    assert (mean, held, deviation**2) == (
        pytest.approx(68.2282, abs=1e-3),
        pytest.approx(0.0, abs=1e-12),
        pytest.approx(70.588, abs=1e-2),
    )


@pytest.mark.parametrize("spread", ["inventory", "symmetric"])
def test_kernel_is_the_plain_model(rng, monkeypatch, spread):
    model = Model(gamma=float(rng.choice([0.01, 0.1, 1.0])), steps=100)
    draws = rng.random((200, model.steps, kernel.DRAWS))
    is_symmetric = spread == "symmetric"
    ticks = symmetric_ticks(model) if is_symmetric else 0.0
    results, track = traded(model, draws, ticks)
    profits, held = plain_profits(model, draws, is_symmetric=is_symmetric)
    assert np.array_equal(results[:, kernel.INVENTORY], held)
    # Quotes and steps are rounded to a millionth: at most 200 fills and 100 steps times the inventory.
    np.testing.assert_allclose(results[:, kernel.PROFIT] / TICKS_PER_UNIT, profits, atol=5e-3)
    assert (track[-1, kernel.HELD], track[-1, kernel.EARNED]) == (
        results[0, kernel.INVENTORY],
        results[0, kernel.PROFIT],
    )
    again = traded(model, draws, ticks, interpreted(kernel).run, monkeypatch)
    assert np.array_equal(results, again[0])
    assert np.array_equal(track, again[1])


def test_quotes_are_those_of_the_strategy_in_a_backtest(rng):
    """Ticks of a millionth: the strategy as the engine wakes it asks for exactly the prices that the kernel trades at."""
    model = Model()
    values = {
        "risk_aversion": model.gamma / TICKS_PER_UNIT, "volatility": model.sigma * TICKS_PER_UNIT,
        "intensity_decay": model.k / TICKS_PER_UNIT, "horizon_ns": 10**9, "max_inventory_lots": 100,
    }  # fmt: skip
    strategy, plain = prepared("avellaneda_stoikov", **values), interpreted(kernel)
    for _ in range(50):
        step, q = int(rng.integers(0, model.steps)), int(rng.integers(-20, 21))
        mid = round(model.mid * TICKS_PER_UNIT) + int(rng.integers(-(10**6), 10**6))
        view = flat_view(mid - 5 * 10**7, mid + 5 * 10**7, now_ts=10**18 + step * 5_000_000, position_lots=q)
        requests = wake(strategy, view)
        left = (model.steps - step) * model.dt
        _, bid, ask = plain.quoted(
            mid, q, left, values["risk_aversion"], values["volatility"], values["intensity_decay"], 0.0
        )
        assert prices(requests, 1)[0] == pytest.approx(bid, abs=1)
        assert prices(requests, -1)[0] == pytest.approx(ask, abs=1)


def test_same_seed_same_bytes_and_paths_do_not_depend_on_their_number(monkeypatch):
    monkeypatch.setattr(experiment, "_DRAWS_AT_ONCE", 7 * 600)
    few, many = run_experiment(Model(), paths=20, seed=3), run_experiment(Model(), paths=50, seed=3)
    monkeypatch.undo()
    whole, other = run_experiment(Model(), paths=50, seed=3), run_experiment(Model(), paths=50, seed=4)
    for name in experiment.STRATEGIES:
        profits = many.outcomes[name].profit_ticks
        assert profits.tobytes() == whole.outcomes[name].profit_ticks.tobytes()
        assert profits[:20].tobytes() == few.outcomes[name].profit_ticks.tobytes()
        assert profits.tobytes() != other.outcomes[name].profit_ticks.tobytes()


def test_certain_fills_are_certain():
    # lambda dt = 1e6 x 0.005 x exp(-1.5 d) is above 1 at any quote here: a fill on both sides at every step.
    found = run_experiment(Model(intensity=1e6), paths=5)
    assert all(outcome.fills == 400 for outcome in found.outcomes.values())
    assert not any(outcome.inventory.any() for outcome in found.outcomes.values())
    assert run_experiment(Model(intensity=0.0), paths=5).outcomes["inventory"].fills == 0


def test_errors_of_moments(rng):
    """Against the spread of the figures over many samples of a law with fat tails (a normal law would give half)."""
    samples = rng.standard_t(9, (3000, 400))
    each = np.array([moments(sample) for sample in samples])
    assert each[:, 2].mean() == pytest.approx(each[:, 0].std(), rel=0.05)
    assert each[:, 3].mean() == pytest.approx(each[:, 1].std(), rel=0.12)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("gamma", {"gamma": 0.0}),
        ("steps", {"steps": 10**5}),
        ("sigma", {"gamma": 1e3, "sigma": 2.0}),
        ("k", {"k": math.nan}),
    ],
)
def test_impossible_models_are_refused(field, values):
    with pytest.raises(InvalidRequest, match=field):
        Model(**values)


@pytest.mark.parametrize(("field", "values"), [("paths", {"paths": 1}), ("seed", {"seed": -1})])
def test_impossible_experiments_are_refused(field, values):
    with pytest.raises(InvalidRequest, match=field):
        run_experiment(Model(), **values)


def test_the_command_prints_the_table_and_draws(tmp_path, capsys):
    plot = tmp_path / "paths.svg"
    cli_avellaneda.run_avellaneda(gamma=0.1, paths=200, seed=1, plot=plot)
    out = capsys.readouterr().out
    assert "within 3" in out
    assert "68.4" in out
    picture = plot.read_text("utf-8")
    assert picture.startswith("<svg") and picture.count("<path d=") > 20
    cli_avellaneda.run_avellaneda(gamma=0.3, paths=10, seed=1, plot=None)
    assert "no table for this gamma" in capsys.readouterr().out
    with pytest.raises(InvalidRequest, match="--plot"):
        cli_avellaneda.run_avellaneda(gamma=0.1, paths=200, seed=1, plot=tmp_path / "paths.png")
