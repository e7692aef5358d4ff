"""Rates of orders by the length of the queue that they meet, from recordings."""
