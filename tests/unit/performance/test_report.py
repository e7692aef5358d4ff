from dataclasses import dataclass
from decimal import Decimal

import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.report import analyse
from market_maker.performance.returns import Sharpe

UNDEFINED = Sharpe(None, "one", 1, 1.0, 0)


@dataclass
class Figures:
    net_pnl: Decimal
    spread_capture: Decimal
    inventory_pnl: Decimal
    fees: Decimal
    funding: Decimal = Decimal(0)
    max_drawdown: Decimal = Decimal(1)
    turnover: Decimal = Decimal(10)
    fills: int = 4
    maker_fills: int = 3
    orders: int = 9
    sharpe: Sharpe = UNDEFINED

    @property
    def summary(self):
        return self

    @property
    def gross_pnl(self):
        return self.net_pnl + self.fees + self.funding


def test_totals_best_and_worst():
    runs = [
        Figures(Decimal("1.5"), Decimal(2), Decimal("0.5"), Decimal(1)),
        Figures(Decimal(-3), Decimal(1), Decimal("-3.5"), Decimal("0.5"), max_drawdown=Decimal(7)),
    ]
    report = analyse(runs, ["a", "b"])
    assert (report.net_pnl, report.best, report.worst, report.profitable_runs) == (Decimal("-1.5"), "a", "b", 1)
    assert (report.residual, report.worst_drawdown, report.maker_share) == (0, Decimal(7), 0.75)
    assert report.to_json()["rows"][1]["net_pnl"] == "-3"


def test_funding_is_a_cause_of_profit_and_leaves_no_residual():
    paid = Figures(Decimal("0.7"), Decimal(2), Decimal("0.5"), Decimal(1), funding=Decimal("0.8"))
    report = analyse([paid, paid])
    assert (report.residual, report.funding) == (0, Decimal("1.6"))
    assert [row.residual for row in report.rows] == [0, 0]


def test_nothing_to_analyse_and_wrong_labels():
    with pytest.raises(DataError):
        analyse([])
    with pytest.raises(InvalidRequest, match="labels"):
        analyse([Figures(*(Decimal(0),) * 4)], [])
