"""Money that goes into accounts and out of them: each transfer a row, numbered by account."""

from alembic import op

revision = "0009"
down_revision = "0008"

SCHEMA = """
CREATE TABLE account_transfers (
    account_id uuid NOT NULL REFERENCES accounts, number bigint NOT NULL, transfer_id uuid NOT NULL UNIQUE,
    amount numeric NOT NULL, reason text NOT NULL, ts bigint NOT NULL,
    PRIMARY KEY (account_id, number)
);
"""


def upgrade() -> None:
    """Add the table."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute(SCHEMA)
