"""What a run yields: equity and fills as columns, a summary in quote currency, and what makes it repeatable.

Money is exact: half tick-lots inside (a mid lies on half ticks), Decimal in the summary. Knows nothing of databases.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl

from market_maker.domain.errors import DataError
from market_maker.domain.instrument import EXACT, Instrument
from market_maker.domain.order import Liquidity, Side
from market_maker.domain.position import PositionState
from market_maker.performance.drawdown import max_drawdown
from market_maker.performance.returns import Sharpe, sharpe_ratio
from market_maker.storage.lake import sha256_of


class FillModel(StrEnum):
    """PARTIAL: fills are bounded by displayed or traded quantity; NO_PARTIAL: an order fills wholly or not at all."""

    PARTIAL = "PARTIAL"
    NO_PARTIAL = "NO_PARTIAL"


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The figures of one run, money in quote currency, quantities in base currency or contracts.

    net_pnl = spread_capture + inventory_pnl - fees, exactly. `spread_capture` is the sum over fills of
    side x (mid at the fill - price) x quantity, `inventory_pnl` what the mid did to the positions held afterwards.
    `max_drawdown` is the deepest fall of the sampled equity. `market_conditions` is what was requested, reached and
    recorded of a run under conditions, None of a plain one.
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
    market_conditions: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values, money as text; without `market_conditions` where there were none."""
        values = {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in asdict(self).items()}
        if self.market_conditions is None:
            del values["market_conditions"]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunSummary:
        """Return the summary that `to_json` wrote."""
        read: dict[str, Any] = {
            name: Decimal(value) if isinstance(value, str) else value for name, value in values.items()
        }
        return cls(**(read | {"sharpe": Sharpe(**values["sharpe"])}))


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run.

    Parameters
    ----------
    summary : the figures
    samples : ts, equity_half_tick_lots, position_lots, cash_tick_lots, fees_tick_lots, mid_half_ticks (all int64)
    fills : exch_ts, order_id, side, liquidity, price_ticks, qty_lots, fee_tick_lots, position_lots,
        cash_tick_lots, fees_tick_lots, mid_half_ticks (all int64; position and money after the fill)
    reproducibility : seed, configuration, data hash, code version, library versions
    """

    summary: RunSummary
    samples: pl.DataFrame
    fills: pl.DataFrame
    reproducibility: dict[str, Any]

    def digest(self) -> str:
        """Return the sha256 of configuration, data hash, fills and equity: equal for equal runs."""
        digest = hashlib.sha256()
        known = {name: self.reproducibility[name] for name in ("configuration", "data_hash", "seed")}
        digest.update(json.dumps(known, sort_keys=True).encode())
        for frame in (self.samples, self.fills):
            for column in frame:
                digest.update(column.name.encode())
                digest.update(column.to_numpy().tobytes())
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return summary, reproducibility and digest as JSON values (without the columns)."""
        return {
            "summary": self.summary.to_json(),
            "reproducibility": self.reproducibility,
            "digest": self.digest(),
            "samples": self.samples.height,
        }

    def final_position(self) -> PositionState:
        """Return the position that the fills add up to; its ids are nil, its time that of the last fill."""
        nil = UUID(int=0)
        position = PositionState(nil, nil, nil, None)
        names = ("exch_ts", "side", "price_ticks", "qty_lots", "fee_tick_lots")
        for ts, side, price_ticks, qty_lots, fee in self.fills.select(names).iter_rows():
            position.apply_fill(Side(side), price_ticks, qty_lots, fee)
            position.updated_ts = ts
        return position

    def to_json_with_columns(self) -> dict[str, Any]:
        """Return `to_json` with the equity curve and the fills by column: times and money as text in quote currency."""
        pair = self.reproducibility["configuration"]["pair"]
        tick, lot = Decimal(pair["tick_size"]), Decimal(pair["lot_size"])
        cash = EXACT.multiply(tick, lot)

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
        try:
            kept = json.loads((folder / "result.json").read_text("utf-8"))
            samples, fills = (pl.read_parquet(folder / f"{name}.parquet") for name in ("samples", "fills"))
            result = cls(RunSummary.from_json(kept["summary"]), samples, fills, kept["reproducibility"])
        except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
            raise DataError(
                f"the result in {folder.name} is missing or damaged: {error}; run the backtest again"
            ) from error
        if result.digest() != kept["digest"]:
            raise DataError(f"the result in {folder.name} is not the one that was written; run the backtest again")
        return result

    def write(self, folder: Path) -> list[dict[str, Any]]:
        """Write samples.parquet, fills.parquet and, last, result.json; return name, rows, bytes, sha256 of the columns."""
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name, frame in (("samples", self.samples), ("fills", self.fills)):
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
    samples: pl.DataFrame,
    fills: pl.DataFrame,
    end: dict[str, int],
    sample_interval_ns: int,
) -> RunSummary:
    """Return the figures of a run.

    `end` holds the last position_lots, cash_tick_lots, fees_tick_lots, mid_half_ticks and the counts
    last_order_id, orders_rejected, orders_canceled, orders_expired.
    """

    def money(half_tick_lots: int) -> Decimal:
        return EXACT.divide(instrument.cash_to_decimal(half_tick_lots), Decimal(2))

    columns = _whole(fills)
    price, qty = columns["price_ticks"], columns["qty_lots"]
    capture = int((columns["side"] * qty * (columns["mid_half_ticks"] - 2 * price)).sum()) if fills.height else 0
    gross = 2 * end["cash_tick_lots"] + end["position_lots"] * end["mid_half_ticks"]
    fees = 2 * end["fees_tick_lots"]
    turnover = int((price * qty).sum()) if fills.height else 0
    equity = samples["equity_half_tick_lots"].to_numpy()
    drawdown = max_drawdown(equity) if len(equity) else None
    makers = fills.filter(pl.col("liquidity") == int(Liquidity.MAKER)).height
    return RunSummary(
        net_pnl=money(gross - fees),
        gross_pnl=money(gross),
        fees=money(fees),
        spread_capture=money(capture),
        inventory_pnl=money(gross - capture),
        initial_balance=money(2 * balance_tick_lots),
        final_equity=money(2 * balance_tick_lots + gross - fees),
        max_drawdown=money(int(drawdown.depth)) if drawdown else Decimal(0),
        max_drawdown_duration_ns=drawdown.duration * sample_interval_ns if drawdown else 0,
        turnover=money(2 * turnover),
        volume=instrument.lots_to_qty(int(qty.sum()) if fills.height else 0),
        position=instrument.lots_to_qty(end["position_lots"]),
        sharpe=sharpe_ratio(equity, interval_ns=sample_interval_ns),
        fills=fills.height,
        maker_fills=makers,
        taker_fills=fills.height - makers,
        maker_share=makers / fills.height if fills.height else None,
        orders=end["last_order_id"],
        orders_rejected=end["orders_rejected"],
        orders_canceled=end["orders_canceled"],
        orders_expired=end["orders_expired"],
    )


def _whole(frame: pl.DataFrame) -> dict[str, Any]:
    """Return columns for exact sums of products: of Python's integers where a sum could exceed int64."""
    columns = {name: frame[name].to_numpy() for name in ("side", "price_ticks", "qty_lots", "mid_half_ticks")}
    price, qty, mid = (
        int(np.abs(columns[name]).max(initial=0)) for name in ("price_ticks", "qty_lots", "mid_half_ticks")
    )
    if (2 * price + mid) * qty * frame.height < 2**62:
        return columns
    return {name: column.astype(object) for name, column in columns.items()}
