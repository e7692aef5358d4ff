"""Resting and waiting orders: slots, ids, owners, expiry."""
