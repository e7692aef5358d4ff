"""Figures of thousands of positions at once, and of a book after each fill, by compiled code."""
