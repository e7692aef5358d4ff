"""A model that is wrong by design is flagged through the service's own way of testing, the right one passes."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.domain.position import PositionState
from market_maker.risk.history import price_history
from market_maker.risk.model_tests import judge_models as judged
from market_maker.risk.models import Model
from market_maker.risk.positions import Holding

SECOND = 1_000_000_000
INSTRUMENT = Instrument(UUID(int=1), "simulator", "BTC-USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.001"))


def a_holding(returns: np.ndarray, lots: int = 100) -> Holding:
    closes = np.rint(np.cumprod(np.concatenate([[1.0], 1.0 + returns])) * 10**9).astype(np.int64)
    history = price_history(np.arange(closes.size) * SECOND, closes, interval_ns=SECOND)
    return Holding(PositionState(UUID(int=2), UUID(int=1), UUID(int=3), None, qty_lots=lots), INSTRUMENT, history)


def test_normal_law_on_fat_tails_is_flagged_and_the_right_one_passes() -> None:
    rng = np.random.default_rng(20)
    fat = a_holding(rng.standard_t(3, 1000) * 1e-4)
    given = {"confidence_level": Decimal("0.975"), "window": 250}
    found = judged(fat, [Model.NORMAL, Model.STUDENT_T], **given)  # type: ignore[arg-type]
    lights = {each["method"]: each["light"] for each in found["models"]}
    assert lights["NORMAL"] in ("YELLOW", "RED")
    assert lights["STUDENT_T"] == "GREEN"
    (comparison,) = found["comparisons"]
    assert comparison["mean_difference"] > 0, "the wrong one has the larger scores"
    thin = a_holding(rng.standard_normal(1000) * 1e-4)
    assert judged(thin, [Model.NORMAL], **given)["models"][0]["light"] == "GREEN"  # type: ignore[arg-type]


def test_a_short_position_is_judged_by_its_own_losses() -> None:
    rng = np.random.default_rng(4)
    returns = rng.standard_normal(400) * 1e-4
    given = {"confidence_level": Decimal("0.95"), "window": 100}
    short = judged(a_holding(returns, -100), [Model.NORMAL], **given)["models"][0]  # type: ignore[arg-type]
    mirrored = judged(a_holding(-returns), [Model.NORMAL], **given)["models"][0]  # type: ignore[arg-type]
    assert abs(short["exceptions"] - mirrored["exceptions"]) <= 1


def test_what_cannot_be_tested_says_why() -> None:
    holding = a_holding(np.random.default_rng(1).standard_normal(100) * 1e-4)
    with pytest.raises(
        DataError, match="100 returns of 1s without a hole are too few for a window of 250; at least 270"
    ):
        judged(holding, [Model.NORMAL], confidence_level=Decimal("0.95"), window=250)
    with pytest.raises(InvalidRequest, match="a multiple of 1s"):
        judged(holding, [Model.NORMAL], confidence_level=Decimal("0.95"), window=50, interval_ns=SECOND // 2)
    with pytest.raises(InvalidRequest, match="window"):
        judged(holding, [Model.NORMAL], confidence_level=Decimal("0.99"), window=50)
