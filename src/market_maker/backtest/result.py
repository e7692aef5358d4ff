"""What a run yields: equity and fills as columns, a summary in the currency it settles in, and what makes it repeatable.

Money is exact: half units of cash inside (a mid lies on half ticks), Decimal in the summary. Knows nothing of databases.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from market_maker.backtest.fee_models import Contract
from market_maker.backtest.guard import LimitOutcome
from market_maker.domain.errors import DataError
from market_maker.domain.instrument import EXACT, ContractType, Instrument
from market_maker.domain.order import Liquidity, Side
from market_maker.domain.position import PositionState
from market_maker.performance.columns import total
from market_maker.performance.drawdown import max_drawdown
from market_maker.performance.returns import Sharpe, sharpe_ratio
from market_maker.performance.worth import Worth
from market_maker.storage.lake import sha256_of

if TYPE_CHECKING:
    import polars as pl

Columns = Mapping[str, NDArray[np.int64]]
"""A table by column. A result holds such; data frames, whose library alone needs as much memory as a run, are made when wanted."""


class FillModel(StrEnum):
    """PARTIAL: fills are bounded by displayed or traded quantity; NO_PARTIAL: an order fills wholly or not at all."""

    PARTIAL = "PARTIAL"
    NO_PARTIAL = "NO_PARTIAL"


@dataclass(frozen=True, slots=True)
class Assumed:
    """What a run would have been under one assumption about fills; money in quote currency (INVERSE: base currency)."""

    net_pnl: Decimal
    fills: int
    volume: Decimal
    max_drawdown: Decimal
    sharpe: float | None

    @classmethod
    def of(cls, summary: RunSummary) -> Assumed:
        """Return the figures of a finished run."""
        return cls(summary.net_pnl, summary.fills, summary.volume, summary.max_drawdown, summary.sharpe.ratio)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The figures of one run, money in quote currency (INVERSE: base currency), quantities in base currency or contracts.

    `band` holds the same run under pessimistic (back of the queue, only trades through the price), its own (`queue`) and
    optimistic (front of the queue) fills. net_pnl = spread_capture + inventory_pnl - fees - funding, exactly. `spread_capture` is the sum over fills of
    side x (mid at the fill - price) x quantity, `inventory_pnl` what the mid did to the positions held afterwards.
    `max_drawdown` is the deepest fall of the sampled equity. `market_conditions` is what was requested, reached and
    recorded of a run under conditions, None of a plain one; `limits` what became of each limit, None without limits.
    """

    net_pnl: Decimal
    gross_pnl: Decimal
    fees: Decimal
    spread_capture: Decimal
    inventory_pnl: Decimal
    initial_balance: Decimal
    final_equity: Decimal
    max_drawdown: Decimal
    max_drawdown_duration_ns: int
    turnover: Decimal
    volume: Decimal
    position: Decimal
    sharpe: Sharpe
    fills: int
    maker_fills: int
    taker_fills: int
    maker_share: float | None
    orders: int
    orders_rejected: int
    orders_canceled: int
    orders_expired: int
    funding: Decimal = Decimal(0)
    market_conditions: dict[str, Any] | None = None
    band: dict[str, Assumed] | None = None
    limits: list[LimitOutcome] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values, money as text; without `market_conditions`, `limits` and `band` where there were none."""
        values = _texts(asdict(self))
        for name in ("market_conditions", "limits"):
            if values[name] is None:
                del values[name]
        if self.band is None:
            del values["band"]
        else:
            values["band"] = {name: _texts(figures) for name, figures in values["band"].items()}
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunSummary:
        """Return the summary that `to_json` wrote."""
        band = values.get("band")
        read = _numbers(values) | {"sharpe": Sharpe(**values["sharpe"])}
        if band is not None:
            read["band"] = {name: Assumed(**_numbers(figures)) for name, figures in band.items()}
        if values.get("limits") is not None:
            read["limits"] = [LimitOutcome(**each) for each in values["limits"]]
        return cls(**read)


def _texts(values: dict[str, Any]) -> dict[str, Any]:
    return {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in values.items()}


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    return {name: Decimal(value) if isinstance(value, str) else value for name, value in values.items()}


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Its tables are there as columns, and as data frames that are made when they are first asked for: `samples`, `fills` and
    `order_events`.

    Parameters
    ----------
    summary : the figures
    sample_columns : ts, equity_half_tick_lots, position_lots, cash_tick_lots, fees_tick_lots, funding_tick_lots, mid_half_ticks
        (all int64)
    fill_columns : exch_ts, order_id, side, liquidity, price_ticks, qty_lots, fee_tick_lots, position_lots,
        cash_tick_lots, fees_tick_lots, mid_half_ticks (position and money after the fill), cause (`state.FillCause`),
        joined_front_lots (the queue ahead when the order came to rest); all int64
    reproducibility : seed, configuration, data hash, code version, library versions
    event_columns : decisions and events of all orders, columns of `state.LOG_DTYPE`; None when they were not recorded
    """

    summary: RunSummary
    sample_columns: Columns
    fill_columns: Columns
    reproducibility: dict[str, Any]
    event_columns: Columns | None = None

    @cached_property
    def samples(self) -> pl.DataFrame:
        """The samples as a data frame."""
        return _frame(self.sample_columns)

    @cached_property
    def fills(self) -> pl.DataFrame:
        """The fills as a data frame."""
        return _frame(self.fill_columns)

    @cached_property
    def order_events(self) -> pl.DataFrame | None:
        """The decisions and events of all orders as a data frame; None when they were not recorded."""
        return None if self.event_columns is None else _frame(self.event_columns)

    def digest(self) -> str:
        """Return the sha256 of configuration, data hash, fills and equity: equal for equal runs."""
        digest = hashlib.sha256()
        known = {name: self.reproducibility[name] for name in ("configuration", "data_hash", "seed")}
        digest.update(json.dumps(known, sort_keys=True).encode())
        for columns in (self.sample_columns, self.fill_columns):
            for name, column in columns.items():
                digest.update(name.encode())
                digest.update(np.ascontiguousarray(column).data)
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return summary, reproducibility and digest as JSON values (without the columns)."""
        return {
            "summary": self.summary.to_json(),
            "reproducibility": self.reproducibility,
            "digest": self.digest(),
            "samples": len(self.sample_columns["ts"]),
        }

    def instrument(self) -> Instrument:
        """Return the pair as it was when the run began; its id is nil and its currencies are not named."""
        pair = self.reproducibility["configuration"]["pair"]
        tick, lot, many = (Decimal(pair.get(name, 1)) for name in ("tick_size", "lot_size", "contract_multiplier"))
        return Instrument(
            UUID(int=0), pair["venue"], pair["symbol"], "", "", tick, lot, ContractType(pair["contract_type"]),
            contract_multiplier=many,
        )  # fmt: skip

    def final_position(self) -> PositionState:
        """Return the position that the fills add up to, funding as a part of its result; its ids are nil, its time that of the last fill."""
        nil = UUID(int=0)
        position, contract = PositionState(nil, nil, nil, None), self.instrument()
        names = ("exch_ts", "side", "price_ticks", "qty_lots", "fee_tick_lots")
        rows = (self.fill_columns[name].tolist() for name in names)
        for ts, side, price_ticks, qty_lots, fee in zip(*rows, strict=True):
            position.apply_fill(Side(side), price_ticks, qty_lots, fee, contract)
            position.updated_ts = ts
        funding = contract.cash_units(self.summary.funding)
        position.cash_tick_lots -= funding
        position.realised_tick_lots -= funding
        return position

    def to_json_with_columns(self) -> dict[str, Any]:
        """Return `to_json` with the equity curve and the fills by column: times and money as text, money as in the summary."""
        instrument = self.instrument()
        tick, lot, cash = instrument.tick_size, instrument.lot_size, instrument.tick_lot

        def scaled(frame: pl.DataFrame, name: str, unit: Decimal) -> list[str]:
            return [f"{EXACT.multiply(Decimal(value), unit):f}" for value in frame[name]]

        half = Decimal("0.5")
        return self.to_json() | {
            "equity": {
                "ts": [str(ts) for ts in self.samples["ts"]],
                "equity": scaled(self.samples, "equity_half_tick_lots", EXACT.multiply(cash, half)),
                "position": scaled(self.samples, "position_lots", lot),
                "mid": scaled(self.samples, "mid_half_ticks", EXACT.multiply(tick, half)),
            },
            "fills": {
                "ts": [str(ts) for ts in self.fills["exch_ts"]],
                "order_id": self.fills["order_id"].to_list(),
                "side": [Side(side).name for side in self.fills["side"]],
                "liquidity": [Liquidity(liquidity).name for liquidity in self.fills["liquidity"]],
                "price": scaled(self.fills, "price_ticks", tick),
                "quantity": scaled(self.fills, "qty_lots", lot),
                "fee": scaled(self.fills, "fee_tick_lots", cash),
                "position": scaled(self.fills, "position_lots", lot),
            },
        }

    @classmethod
    def read(cls, folder: Path) -> RunResult:
        """Return the result that `write` left in `folder`; DataError when a file is missing or was changed."""
        import polars as pl

        try:
            kept = json.loads((folder / "result.json").read_text("utf-8"))
            samples, fills = (pl.read_parquet(folder / f"{name}.parquet") for name in ("samples", "fills"))
            path = folder / "order_events.parquet"
            events = pl.read_parquet(path) if path.exists() else None
            result = cls(
                RunSummary.from_json(kept["summary"]), _columns(samples), _columns(fills), kept["reproducibility"],
                None if events is None else _columns(events),
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
            raise DataError(
                f"the result in {folder.name} is missing or damaged: {error}; run the backtest again"
            ) from error
        if result.digest() != kept["digest"]:
            raise DataError(f"the result in {folder.name} is not the one that was written; run the backtest again")
        return result

    def write(self, folder: Path) -> list[dict[str, Any]]:
        """Write samples, fills, order events if there are any, and, last, result.json; return name, rows, bytes, sha256 of the columns."""
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name, frame in (("samples", self.samples), ("fills", self.fills), ("order_events", self.order_events)):
            if frame is None:
                continue
            path = folder / f"{name}.parquet"
            staging = folder / f".{name}.staging"
            frame.write_parquet(staging, compression="zstd")
            staging.replace(path)
            written.append(
                {"name": path.name, "rows": frame.height, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
            )
        staging = folder / ".result.staging"
        staging.write_text(json.dumps(self.to_json()), "utf-8")
        staging.replace(folder / "result.json")
        return written


def summarise(
    *,
    instrument: Instrument,
    balance_tick_lots: int,
    samples: Columns,
    fills: Columns,
    end: dict[str, int],
    sample_interval_ns: int,
) -> RunSummary:
    """Return the figures of a run.

    `end` holds the last position_lots, cash_tick_lots, fees_tick_lots, funding_tick_lots, mid_half_ticks and the counts
    last_order_id, orders_rejected, orders_canceled, orders_expired.
    """
    contract, worth = Contract.of(instrument), Worth.of(instrument)

    def money(half_units: int) -> Decimal:
        return EXACT.divide(EXACT.multiply(Decimal(half_units), contract.cash_unit), Decimal(2))

    side, price, qty, mid = (fills[name] for name in ("side", "price_ticks", "qty_lots", "mid_half_ticks"))
    # What fills were worth at the mid, and what was paid for them.
    capture = total(worth.positions(side * qty, mid)) + total(worth.received(side, price, qty))
    gross = 2 * end["cash_tick_lots"] + worth.position(end["position_lots"], end["mid_half_ticks"])
    fees, funding = 2 * end["fees_tick_lots"], 2 * end["funding_tick_lots"]
    equity = samples["equity_half_tick_lots"]
    drawdown = max_drawdown(equity) if len(equity) else None
    makers = int(np.count_nonzero(fills["liquidity"] == int(Liquidity.MAKER)))
    return RunSummary(
        net_pnl=money(gross - fees - funding),
        gross_pnl=money(gross),
        fees=money(fees),
        funding=money(funding),
        spread_capture=money(capture),
        inventory_pnl=money(gross - capture),
        initial_balance=money(2 * balance_tick_lots),
        final_equity=money(2 * balance_tick_lots + gross - fees - funding),
        max_drawdown=money(int(drawdown.depth)) if drawdown else Decimal(0),
        max_drawdown_duration_ns=drawdown.duration * sample_interval_ns if drawdown else 0,
        turnover=money(total(worth.traded(price, qty))),
        volume=instrument.lots_to_qty(total(qty)),
        position=instrument.lots_to_qty(end["position_lots"]),
        sharpe=sharpe_ratio(equity, interval_ns=sample_interval_ns),
        fills=len(qty),
        maker_fills=makers,
        taker_fills=len(qty) - makers,
        maker_share=makers / len(qty) if len(qty) else None,
        orders=end["last_order_id"],
        orders_rejected=end["orders_rejected"],
        orders_canceled=end["orders_canceled"],
        orders_expired=end["orders_expired"],
    )


def columns_of(records: NDArray[Any]) -> dict[str, NDArray[np.int64]]:
    """Return records as columns."""
    return {name: np.ascontiguousarray(records[name]) for name in records.dtype.names or ()}


def _frame(columns: Columns) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame([pl.Series(name, column) for name, column in columns.items()])


def _columns(frame: pl.DataFrame) -> Columns:
    return {column.name: column.to_numpy() for column in frame}
