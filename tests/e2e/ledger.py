"""What must hold in the database after any storm, in SQL (promises R1, R8, R9).

Each function returns what is wrong, in words; an empty list is what tests ask for.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from e2e.order_load import Told

MARKET = "00000000-0000-7000-8000-000000000001"
BACKTEST = "00000000-0000-7000-8000-000000000003"

_MUST_BE_EMPTY = {
    "a pair whose positions do not sum to zero": f"""
        SELECT pair_id, sum(qty_lots) AS qty, sum(cash_tick_lots) AS cash, sum(fees_tick_lots) AS fees FROM positions
        WHERE account_id <> '{BACKTEST}' GROUP BY pair_id
        HAVING sum(qty_lots) <> 0 OR sum(cash_tick_lots) <> 0 OR sum(fees_tick_lots) <> 0
    """,
    "a position that is not the sum of its fills and transfers": f"""
        SELECT p.position_id, p.qty_lots, p.cash_tick_lots, p.fees_tick_lots, b.qty, b.cash, b.fees
        FROM positions p LEFT JOIN (
            SELECT position_id, sum(side * qty_lots) AS qty, sum(-side * price_ticks::numeric * qty_lots) AS cash,
                   sum(fee) AS fees, sum(price_ticks::numeric * qty_lots) AS volume
            FROM (
                SELECT position_id, side, price_ticks, qty_lots, fee_tick_lots AS fee FROM simulated_trades
                UNION ALL SELECT position_id, side, price_ticks, qty_lots, 0 FROM position_transfers
            ) AS booked GROUP BY position_id
        ) AS b USING (position_id)
        WHERE p.account_id NOT IN ('{MARKET}', '{BACKTEST}') AND (
            p.qty_lots <> coalesce(b.qty, 0) OR p.cash_tick_lots <> coalesce(b.cash, 0)
            OR p.fees_tick_lots <> coalesce(b.fees, 0) OR p.volume_tick_lots <> coalesce(b.volume, 0)
        )
    """,
    "a position whose cash and cost are not its result": """
        SELECT position_id FROM positions WHERE cash_tick_lots + cost_tick_lots <> realised_tick_lots
    """,
    "an order that is not the sum of its fills": """
        SELECT o.order_id, o.cum_qty_lots, f.qty FROM simulated_orders o LEFT JOIN (
            SELECT order_id, sum(qty_lots) AS qty, sum(price_ticks::numeric * qty_lots) AS value
            FROM simulated_trades GROUP BY order_id
        ) AS f USING (order_id)
        WHERE o.cum_qty_lots <> coalesce(f.qty, 0) OR o.value_tick_lots <> coalesce(f.value, 0)
    """,
    "a fill of no order": "SELECT trade_id FROM simulated_trades t LEFT JOIN simulated_orders o USING (order_id) WHERE o.order_id IS NULL",
    "an order whose status and quantity disagree": """
        SELECT order_id, status, cum_qty_lots, qty_lots FROM simulated_orders
        WHERE cum_qty_lots > qty_lots OR (status = 3) <> (cum_qty_lots = qty_lots)
           OR (status IN (0, 1, 5) AND cum_qty_lots > 0) OR (status = 2 AND cum_qty_lots = 0)
    """,
    "one wish with two orders": """
        SELECT account_id, client_order_id FROM simulated_orders WHERE client_order_id IS NOT NULL
        GROUP BY account_id, client_order_id HAVING count(*) > 1
    """,
    "a key without its order": """
        SELECT key FROM idempotency_keys k LEFT JOIN simulated_orders o USING (order_id) WHERE o.order_id IS NULL
    """,
    "an aggregate whose events have a gap": """
        SELECT aggregate_id, count(*), min(sequence), max(sequence) FROM events GROUP BY aggregate_id
        HAVING min(sequence) <> 1 OR max(sequence) <> count(*) OR count(DISTINCT sequence) <> count(*)
    """,
    "an order whose last event is not its row": """
        SELECT o.order_id, o.version, e.last FROM simulated_orders o
        LEFT JOIN (SELECT aggregate_id, max(sequence) AS last FROM events GROUP BY aggregate_id) AS e
        ON e.aggregate_id = o.order_id WHERE e.last IS DISTINCT FROM o.version
    """,
    "a column of money or quantity that is not exact": """
        SELECT table_name, column_name, data_type FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type IN ('real', 'double precision')
          AND column_name ~ '(price|qty|lots|ticks|cash|cost|fee|value|balance|amount|volume|pnl|realised|threshold)'
          AND column_name <> 'price_impact'
    """,
}


def faults_of_ledger(dsn: str) -> list[str]:
    """Return every sum that is not what it must be."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        found = []
        for what, query in _MUST_BE_EMPTY.items():
            rows = connection.execute(query).fetchall()
            found += [f"{what}: {row}" for row in rows[:3]]
        return found


def faults_of_promises(dsn: str, told: Told) -> list[str]:
    """Return every acknowledgement that the database does not keep."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        rows = connection.execute("SELECT * FROM simulated_orders").fetchall()
        fills = connection.execute("SELECT order_id, count(*) AS n FROM simulated_trades GROUP BY order_id").fetchall()
    stored = {str(row["order_id"]): row for row in rows}
    filled = {str(row["order_id"]): row["n"] for row in fills}
    found = list(told.wrong)
    for order_id, wish in told.acknowledged.items():
        row = stored.get(order_id)
        if row is None:
            found.append(f"acknowledged order {order_id} is lost")
        else:
            found += _differences(row, wish.first_answer or {}, filled.get(order_id, 0))
    for order_id in told.cancels:
        row = stored[order_id]
        if not row["cancel_arrival_ts"]:
            found.append(f"acknowledged cancel of {order_id} is lost")
    unknown = len(stored.keys() - told.acknowledged.keys())
    unsettled = sum(1 for wish in told.wishes if wish.order_id is None)
    if unknown > unsettled:
        found.append(f"{unknown} orders that nobody was told of, but only {unsettled} answers were lost")
    if any(wish.has_key and wish.order_id is None for wish in told.wishes):
        found.append("a wish with a key was never settled")
    return found


def _differences(row: dict[str, Any], answer: dict[str, Any], fills: int) -> list[str]:
    """Compare a row with what was acknowledged; its state may only have gone on."""
    found = []
    if row["version"] < answer["version"] or (answer["status"] == "REJECTED" and row["status"] != 5):
        found.append(f"order {row['order_id']} was undone: {answer} is now {row}")
    if row["side"] != (1 if answer["side"] == "BUY" else -1) or row["client_order_id"] != answer["client_order_id"]:
        found.append(f"order {row['order_id']} is another: {answer} is now {row}")
    if (row["price_ticks"] == 0) != (answer["price"] is None) or row["pair_id"] != UUID(answer["pair_id"]):
        found.append(f"order {row['order_id']} is another: {answer} is now {row}")
    if answer["price"] is not None and Decimal(answer["price"]) * 100 != row["price_ticks"]:
        found.append(f"order {row['order_id']} has another price: {answer} is now {row}")
    if bool(fills) != bool(row["cum_qty_lots"]):
        found.append(f"order {row['order_id']} has {fills} fills but a quantity of {row['cum_qty_lots']}")
    return found


def slow_down_commits(dsn: str, seconds: float) -> None:
    """Make the writing of every batch take longer, as a slow disk does.

    A kill then falls between the work and its commit more often than not: an answer given too early is lost.
    """
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql"
            f" AS $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$"
        )
        connection.execute("CREATE TRIGGER slow AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION be_slow()")


def count(dsn: str, query: str) -> int:
    """Return the number that a query gives."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def unpublished(dsn: str) -> int:
    """Return the number of events that await publication."""
    return count(
        dsn,
        "SELECT count(*) FROM events e LEFT JOIN relay_cursors c USING (stream_id)"
        " WHERE e.position > coalesce(c.published_position, 0)",
    )
