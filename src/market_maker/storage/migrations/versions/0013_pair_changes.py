"""Pairs have a multiplier and can be changed, each change on record; positions of INVERSE contracts are kept in their own units."""

from alembic import op

revision = "0013"
down_revision = "0012"

# Runs of INVERSE contracts had left positions in tick x lot, which nothing turns back: the next run leaves a right one. What was
# entered by hand keeps its quantity and average price: cost = -quantity / price in units of at most 1e-10 of the base currency.
SCHEMA = """
CREATE SEQUENCE pair_change_numbers;
ALTER TABLE pairs
    ADD COLUMN contract_multiplier numeric NOT NULL DEFAULT 1 CHECK (contract_multiplier > 0),
    ADD COLUMN change_number bigint NOT NULL DEFAULT 0;
CREATE TABLE pair_changes (
    change_id uuid PRIMARY KEY, pair_id uuid NOT NULL REFERENCES pairs, ts bigint NOT NULL, details jsonb NOT NULL
);
CREATE INDEX pair_changes_pair ON pair_changes (pair_id, change_id);
CREATE TEMPORARY TABLE left_by_runs ON COMMIT DROP AS
    SELECT position_id FROM positions JOIN pairs USING (pair_id) JOIN accounts USING (account_id)
    WHERE contract_type = 'INVERSE' AND accounts.name = 'backtest';
DELETE FROM risk_metrics WHERE position_id IN (SELECT position_id FROM left_by_runs);
DELETE FROM risk_model_tests WHERE position_id IN (SELECT position_id FROM left_by_runs);
DELETE FROM position_transfers WHERE position_id IN (SELECT position_id FROM left_by_runs);
DELETE FROM positions WHERE position_id IN (SELECT position_id FROM left_by_runs);
UPDATE positions AS p
SET cost_tick_lots = found.cost, cash_tick_lots = -found.cost, realised_tick_lots = 0
FROM (
    SELECT position_id, CASE WHEN qty_lots = 0 OR cost_tick_lots = 0 THEN 0 ELSE
        -round(qty_lots::numeric * qty_lots * ceil(lot_size / tick_size / 0.0000000001) / cost_tick_lots) END AS cost
    FROM positions JOIN pairs USING (pair_id) WHERE contract_type = 'INVERSE'
) AS found
WHERE found.position_id = p.position_id;
"""


def upgrade() -> None:
    """Add columns and table, and bring positions of INVERSE contracts into their units."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute(SCHEMA)
