"""The first schema: reference data, the simulated exchange, backtests, risk, market data, events.

Units: *_ticks, *_lots and *_tick_lots are exact integers (see domain/instrument.py); *_ts are ns since 1970 UTC.
"""

from alembic import op
from procrastinate.schema import SchemaManager

revision = "0001"
down_revision = None

SCHEMA = """
CREATE TABLE pairs (
    pair_id uuid PRIMARY KEY,
    venue text NOT NULL, symbol text NOT NULL, base text NOT NULL, quote text NOT NULL,
    tick_size numeric NOT NULL CHECK (tick_size > 0), lot_size numeric NOT NULL CHECK (lot_size > 0),
    contract_type text NOT NULL, maker_fee numeric NOT NULL, taker_fee numeric NOT NULL,
    initial_price numeric, created_ts bigint NOT NULL,
    UNIQUE (venue, symbol)
);
CREATE TABLE accounts (
    account_id uuid PRIMARY KEY, name text NOT NULL UNIQUE, currency text NOT NULL,
    initial_balance numeric NOT NULL, created_ts bigint NOT NULL
);
CREATE TABLE strategies (
    strategy_id uuid PRIMARY KEY, name text NOT NULL, kind text NOT NULL, parameters jsonb NOT NULL,
    pair_id uuid NOT NULL REFERENCES pairs, created_ts bigint NOT NULL
);
CREATE TABLE sessions (
    session_id uuid PRIMARY KEY, pair_id uuid NOT NULL REFERENCES pairs, mode text NOT NULL, seed bigint NOT NULL,
    state text NOT NULL, configuration jsonb NOT NULL, market text NOT NULL, sequence bigint NOT NULL,
    created_ts bigint NOT NULL, updated_ts bigint NOT NULL
);
CREATE UNIQUE INDEX sessions_one_per_pair ON sessions (pair_id) WHERE state <> 'STOPPED';
CREATE TABLE simulated_orders (
    order_id uuid PRIMARY KEY, pair_id uuid NOT NULL, account_id uuid NOT NULL, strategy_id uuid, position_id uuid NOT NULL,
    client_order_id text, side smallint NOT NULL, order_type smallint NOT NULL, time_in_force smallint NOT NULL,
    post_only boolean NOT NULL, price_ticks bigint NOT NULL, qty_lots bigint NOT NULL,
    execution_probability double precision NOT NULL, price_impact double precision NOT NULL,
    created_ts bigint NOT NULL, arrival_ts bigint NOT NULL, expire_ts bigint NOT NULL,
    status smallint NOT NULL, reject_reason text, cum_qty_lots bigint NOT NULL, value_tick_lots numeric NOT NULL,
    priority bigint NOT NULL, cancel_arrival_ts bigint NOT NULL, updated_ts bigint NOT NULL, version bigint NOT NULL
) WITH (fillfactor = 85);
CREATE INDEX simulated_orders_open ON simulated_orders (pair_id) WHERE status <= 2;
CREATE INDEX simulated_orders_strategy ON simulated_orders (strategy_id, order_id) WHERE strategy_id IS NOT NULL;
CREATE TABLE idempotency_keys (
    account_id uuid NOT NULL, key text NOT NULL, body_hash bytea NOT NULL, order_id uuid NOT NULL, created_ts bigint NOT NULL,
    PRIMARY KEY (account_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_ts);
CREATE TABLE simulated_trades (
    trade_id uuid NOT NULL, order_id uuid NOT NULL, pair_id uuid NOT NULL, account_id uuid NOT NULL, strategy_id uuid,
    position_id uuid NOT NULL, side smallint NOT NULL, liquidity smallint NOT NULL, price_ticks bigint NOT NULL,
    qty_lots bigint NOT NULL, fee_tick_lots bigint NOT NULL, ts bigint NOT NULL,
    PRIMARY KEY (trade_id, order_id)
);
CREATE INDEX simulated_trades_order ON simulated_trades (order_id);
CREATE TABLE positions (
    position_id uuid PRIMARY KEY, pair_id uuid NOT NULL REFERENCES pairs, account_id uuid NOT NULL REFERENCES accounts,
    strategy_id uuid REFERENCES strategies,
    qty_lots bigint NOT NULL, cost_tick_lots bigint NOT NULL, realised_tick_lots bigint NOT NULL, fees_tick_lots bigint NOT NULL,
    cash_tick_lots bigint NOT NULL, volume_tick_lots numeric NOT NULL, updated_ts bigint NOT NULL, version bigint NOT NULL
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX positions_owner ON positions (account_id, pair_id, strategy_id) NULLS NOT DISTINCT;
CREATE INDEX positions_pair ON positions (pair_id);

CREATE TABLE simulated_prices (
    pair_id uuid NOT NULL REFERENCES pairs, ts bigint NOT NULL, mid_half_ticks bigint NOT NULL, PRIMARY KEY (pair_id, ts)
);
CREATE TABLE position_transfers (
    transfer_id uuid PRIMARY KEY, position_id uuid NOT NULL REFERENCES positions, side smallint NOT NULL,
    price_ticks bigint NOT NULL, qty_lots bigint NOT NULL, ts bigint NOT NULL
);
CREATE INDEX position_transfers_position ON position_transfers (position_id);

CREATE TABLE backtest_runs (
    run_id uuid PRIMARY KEY, strategy_id uuid NOT NULL REFERENCES strategies, pair_id uuid NOT NULL REFERENCES pairs,
    status text NOT NULL, configuration jsonb NOT NULL, progress real NOT NULL, events_per_second real, eta_seconds real,
    error text, attempts integer NOT NULL, cancel_requested boolean NOT NULL, heartbeat_ts bigint NOT NULL,
    created_ts bigint NOT NULL, started_ts bigint, finished_ts bigint, version bigint NOT NULL
);
CREATE INDEX backtest_runs_strategy ON backtest_runs (strategy_id, run_id);
CREATE INDEX backtest_runs_open ON backtest_runs (status) WHERE status IN ('PENDING', 'RUNNING');
CREATE TABLE backtest_results (
    run_id uuid PRIMARY KEY REFERENCES backtest_runs, strategy_id uuid NOT NULL REFERENCES strategies,
    summary jsonb NOT NULL, reproducibility jsonb NOT NULL, digest text NOT NULL, folder text NOT NULL, files jsonb NOT NULL, created_ts bigint NOT NULL
);
CREATE INDEX backtest_results_strategy ON backtest_results (strategy_id, run_id);

CREATE TABLE risk_metrics (
    metrics_id uuid PRIMARY KEY, position_id uuid NOT NULL REFERENCES positions, risk_model text NOT NULL, method text NOT NULL,
    confidence_level numeric NOT NULL, time_horizon_ns bigint NOT NULL, value numeric NOT NULL, details jsonb NOT NULL, as_of_ts bigint NOT NULL
);
CREATE INDEX risk_metrics_position ON risk_metrics (position_id, metrics_id);
CREATE TABLE risk_limits (
    limit_id uuid PRIMARY KEY, kind text NOT NULL, scope text NOT NULL, scope_id uuid, threshold numeric NOT NULL CHECK (threshold > 0),
    warn_share numeric NOT NULL, state text NOT NULL, value numeric, evaluated_ts bigint, created_ts bigint NOT NULL, version bigint NOT NULL
);
CREATE TABLE risk_alerts (
    alert_id uuid PRIMARY KEY, limit_id uuid NOT NULL REFERENCES risk_limits ON DELETE CASCADE, position_id uuid, severity text NOT NULL,
    state text NOT NULL, value numeric NOT NULL, threshold numeric NOT NULL, details jsonb NOT NULL, raised_ts bigint NOT NULL, cleared_ts bigint
);
CREATE INDEX risk_alerts_limit ON risk_alerts (limit_id, alert_id);

CREATE TABLE imports (
    import_id uuid PRIMARY KEY, source text NOT NULL, source_sha256 text NOT NULL, importer text NOT NULL, importer_version text NOT NULL,
    options jsonb NOT NULL, report jsonb NOT NULL, created_ts bigint NOT NULL
);
CREATE TABLE market_data_days (
    venue text NOT NULL, symbol text NOT NULL, kind text NOT NULL, day date NOT NULL, import_id uuid NOT NULL REFERENCES imports,
    path text NOT NULL, rows bigint NOT NULL, bytes bigint NOT NULL, sha256 text NOT NULL, first_ts bigint NOT NULL, last_ts bigint NOT NULL,
    quality jsonb NOT NULL,
    PRIMARY KEY (venue, symbol, kind, day)
);

CREATE TABLE event_streams (stream_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE events (
    stream_id integer NOT NULL REFERENCES event_streams, position bigint GENERATED BY DEFAULT AS IDENTITY, event_id uuid NOT NULL,
    aggregate_id uuid NOT NULL, sequence bigint NOT NULL, type text NOT NULL, ts bigint NOT NULL, body text NOT NULL,
    PRIMARY KEY (stream_id, position)
);
CREATE TABLE relay_cursors (stream_id integer PRIMARY KEY REFERENCES event_streams, published_position bigint NOT NULL);
INSERT INTO event_streams (name) VALUES ('service');
"""


def _run(sql: str) -> None:
    """Run SQL text as it is: no parameters, so that a percent sign means itself."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute(sql)


def upgrade() -> None:
    """Create everything, the job queue's own tables too."""
    _run(SCHEMA)
    _run(SchemaManager.get_schema())
