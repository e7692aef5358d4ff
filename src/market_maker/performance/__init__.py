"""What a run earned: returns, drawdown, and where the profit came from. Pure functions of arrays."""
