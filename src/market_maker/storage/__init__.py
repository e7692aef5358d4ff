"""Memory: PostgreSQL, its schema, the outbox, and the lake of tick data."""
