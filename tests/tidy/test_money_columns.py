"""Promise R9: no column that holds money, price or quantity is a binary fraction; asked of the database itself."""

from __future__ import annotations

import psycopg

# Counted or dimensionless: chances, shares and rates of progress, never an amount.
FLOAT_ALLOWED = {
    ("simulated_orders", "execution_probability"),
    ("simulated_orders", "price_impact"),
    ("backtest_runs", "progress"),
    ("backtest_runs", "events_per_second"),
    ("backtest_runs", "eta_seconds"),
    ("imports", "progress"),
}
EXACT_SUFFIXES = ("_ticks", "_lots", "_ts", "_ns")


def columns(dsn: str) -> list[tuple[str, str, str]]:
    """Return table, column and type of everything in the schema."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'"
        ).fetchall()


def test_no_float_holds_money(database_dsn: str) -> None:
    found = columns(database_dsn)
    assert len(found) > 100
    floats = {(table, column) for table, column, kind in found if kind in {"real", "double precision", "money"}}
    ours = {(table, column) for table, column in floats if not table.startswith("procrastinate")}
    assert ours == FLOAT_ALLOWED & ours, "keep it as NUMERIC or in ticks, lots, tick-lots"


def test_units_in_the_name_are_exact(database_dsn: str) -> None:
    wrong = [
        (table, column, kind)
        for table, column, kind in columns(database_dsn)
        if column.endswith(EXACT_SUFFIXES) and kind not in {"bigint", "numeric"}
    ]
    assert not wrong
