"""The synthetic market: invented participants and the matching engine in one loop."""
