"""Strategies that run on a simulated market beside the clock."""
