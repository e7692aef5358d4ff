"""Fills that arrive as a Poisson process around a Brownian mid: the model of Avellaneda and Stoikov (2008)."""
