"""Compiling apart from those who must not wait."""
