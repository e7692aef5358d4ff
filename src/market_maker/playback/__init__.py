"""Recordings played as live markets: what a session of the simulator needs of the backtest's engine."""
