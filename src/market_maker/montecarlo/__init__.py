"""Strategies on the synthetic market, without a service and as fast as it goes: one run, many seeds, comparisons."""
