"""The modes of the service and of its markets."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """What the facade works on."""

    SIMULATION = "simulation"
    BACKTEST = "backtest"
    RISK = "risk"


class TestMode(StrEnum):
    """NORMAL as configured; STRESS by named scenarios; CUSTOM with every parameter given."""

    __test__ = False  # tell pytest that this is not a test class

    NORMAL = "NORMAL"
    STRESS = "STRESS"
    CUSTOM = "CUSTOM"


class RiskModel(StrEnum):
    """The risk figures that can be asked for, by the specification's names."""

    VAR = "VaR"
    EXPECTED_SHORTFALL = "ExpectedShortfall"
