"""Chance: draws as functions of a seed and a counter."""
