"""A run on several instruments from the lake to the folder of its result: each leg as a run of its own, and all together.

Sums are told where things add up: money in the currency that all legs settle in, and counts. Positions and volumes of
different instruments do not; they are told by leg.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from market_maker.backtest.engine import RunConfig, RunProgress, open_market
from market_maker.backtest.result import RunResult
from market_maker.backtest.several import INSTRUMENTS_MAX, SeveralResult, run_several
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import EXACT, Instrument
from market_maker.performance.returns import Sharpe
from market_maker.storage.lake import Lake, sha256_of
from market_maker.strategies.contract import StrategyKind, find_strategy

_MONEY = (
    "net_pnl", "gross_pnl", "fees", "funding", "spread_capture", "inventory_pnl", "initial_balance", "final_equity", "turnover",
)  # fmt: skip
_COUNTS = (
    "fills", "maker_fills", "taker_fills", "orders", "orders_rejected", "orders_canceled", "orders_expired",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SeveralRun:
    """A finished run on several instruments, with what a `RunResult` offers of one."""

    result: SeveralResult

    @property
    def legs(self) -> tuple[RunResult, ...]:
        """The result of each instrument, the strategy's own pair first."""
        return self.result.legs

    @property
    def reproducibility(self) -> dict[str, Any]:
        """What makes the run repeatable: that of the first leg, with the pair, data and coverage of each in `legs`."""
        each = [leg.reproducibility for leg in self.legs]
        hashes = "".join(known["data_hash"] for known in each)
        names = ("data_hash", "tables", "coverage", "missing", "events")
        return each[0] | {
            "data_hash": hashlib.sha256(hashes.encode()).hexdigest(),
            "coverage": min(known["coverage"] for known in each),
            "events": sum(known["events"] for known in each),
            "legs": [
                {"pair": known["configuration"]["pair"]} | {name: known[name] for name in names} for known in each
            ],
        }

    def digest(self) -> str:
        """Return the sha256 of the digests of all legs, in their order."""
        return hashlib.sha256("".join(leg.digest() for leg in self.legs).encode()).hexdigest()

    def summary(self) -> dict[str, Any]:
        """Return the figures of all legs together and, in `legs`, of each, as JSON values; money as text."""
        each = [leg.summary for leg in self.legs]
        money = {name: sum((getattr(one, name) for one in each), Decimal(0)) for name in _MONEY}
        counts = {name: sum(getattr(one, name) for one in each) for name in _COUNTS}
        fills = counts["fills"]
        return {
            **{name: f"{value:f}" for name, value in money.items()},
            "max_drawdown": f"{self.result.max_drawdown:f}",
            "sharpe": asdict(self.result.sharpe),
            **counts,
            "maker_share": counts["maker_fills"] / fills if fills else None,
            "legs": [_pair_of(leg) | {"summary": leg.summary.to_json()} for leg in self.legs],
        }

    def to_json(self) -> dict[str, Any]:
        """Return summary, reproducibility and digest as JSON values (without the columns)."""
        return {
            "summary": self.summary(),
            "reproducibility": self.reproducibility,
            "digest": self.digest(),
            "samples": self.result.equity.height,
        }

    def to_json_with_columns(self) -> dict[str, Any]:
        """Return `to_json` with the equity of all legs together, and each leg with its own equity curve and fills."""
        unit = self.result.equity_unit
        return self.to_json() | {
            "equity": {
                "ts": [str(ts) for ts in self.result.equity["ts"]],
                "equity": [f"{EXACT.multiply(Decimal(value), unit):f}" for value in self.result.equity["equity"]],
            },
            "legs": [_pair_of(leg) | leg.to_json_with_columns() for leg in self.legs],
        }

    def write(self, folder: Path) -> list[dict[str, Any]]:
        """Write the legs into folders of their own, the common equity and, last, result.json; return the files as `RunResult.write`."""
        written = []
        for number, leg in enumerate(self.legs):
            own = _leg_folder(number)
            written += [file | {"name": f"{own}/{file['name']}"} for file in leg.write(folder / own)]
        path, staging = folder / "equity.parquet", folder / ".equity.staging"
        self.result.equity.write_parquet(staging, compression="zstd")
        staging.replace(path)
        rows, size = self.result.equity.height, path.stat().st_size
        written.append({"name": path.name, "rows": rows, "bytes": size, "sha256": sha256_of(path)})
        told = {"equity_unit": str(self.result.equity_unit), "net_pnl": str(self.result.net_pnl)}
        staging = folder / ".result.staging"
        staging.write_text(json.dumps(self.to_json() | told), "utf-8")
        staging.replace(folder / "result.json")
        return written

    @classmethod
    def read(cls, folder: Path, kept: dict[str, Any]) -> SeveralRun:
        """Return the result that `write` left in `folder`; `kept` is its result.json. DataError when something was changed."""
        legs = tuple(RunResult.read(folder / _leg_folder(i)) for i in range(len(kept["summary"]["legs"])))
        try:
            equity = pl.read_parquet(folder / "equity.parquet")
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(f"the equity in {folder.name} is missing or damaged: {error}") from error
        summary = kept["summary"]
        found = cls(
            SeveralResult(
                legs=legs,
                equity=equity,
                equity_unit=Decimal(kept["equity_unit"]),
                net_pnl=Decimal(kept["net_pnl"]),
                max_drawdown=Decimal(summary["max_drawdown"]),
                sharpe=Sharpe(**summary["sharpe"]),
            )
        )
        if found.digest() != kept["digest"]:
            raise DataError(f"the result in {folder.name} is not the one that was written; run the backtest again")
        return found


def read_result(folder: Path) -> RunResult | SeveralRun:
    """Return the result in a folder, of one instrument or of several; DataError when it is missing or damaged."""
    try:
        kept = json.loads((folder / "result.json").read_text("utf-8"))
        is_of_several = "legs" in kept["summary"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"the result in {folder.name} is missing or damaged: {error}; run the backtest again"
        ) from error
    return SeveralRun.read(folder, kept) if is_of_several else RunResult.read(folder)


def backtest_several(
    configs: Sequence[RunConfig], lake: Lake, progress: Callable[[RunProgress], None] | None = None
) -> SeveralRun:
    """Find the strategy, open the recorded markets and run, as `engine.backtest` does with one instrument."""
    first = configs[0]
    strategy = find_strategy(first.strategy_kind).prepare(first.parameters)
    opened = [open_market(config, lake) for config in configs]
    return SeveralRun(run_several([config for config, _ in opened], [feed for _, feed in opened], strategy, progress))


def check_legs(kind: StrategyKind, instruments: Sequence[Instrument], configuration: dict[str, Any]) -> None:
    """Refuse a run whose instruments do not go together, or are not enough for its kind of strategy.

    Parameters
    ----------
    instruments : the run's own first
    configuration : of the run

    Raises
    ------
    InvalidRequest
        Names `with_pairs`, or the field that several instruments do not go with.
    """
    more = [f"{pair.venue}/{pair.symbol}" for pair in instruments[1:]]
    needed = kind.instruments - 1
    if len(more) < needed:
        allowed = (
            f"{needed} or more beside the run's own pair: {kind.kind} trades {kind.instruments} instruments at once"
        )
        raise InvalidRequest.of("with_pairs", f"{len(more)} pairs", allowed)
    if not more:
        return
    if len(instruments) > INSTRUMENTS_MAX:
        raise InvalidRequest.of("with_pairs", f"{len(more)} pairs", f"{INSTRUMENTS_MAX - 1} at most")
    if len({pair.pair_id for pair in instruments}) < len(instruments):
        raise InvalidRequest.of("with_pairs", ", ".join(more), "each pair once, and not the run's own")
    wanted = instruments[0].settled_in
    for name, pair in zip(more, instruments[1:], strict=True):
        if pair.settled_in != wanted:
            given = f"{name} in {pair.settled_in}"
            raise InvalidRequest.of("with_pairs", given, f"pairs that settle in {wanted}, as the run's own does")
    if "market_conditions" in configuration:
        raise InvalidRequest.of(
            "market_conditions", configuration["market_conditions"], "none with several instruments"
        )
    if configuration["record_orders"]:
        raise InvalidRequest.of("record_orders", True, "false with several instruments")


def _pair_of(leg: RunResult) -> dict[str, str]:
    pair = leg.reproducibility["configuration"]["pair"]
    return {"venue": pair["venue"], "symbol": pair["symbol"]}


def _leg_folder(number: int) -> str:
    return f"leg_{number}"
