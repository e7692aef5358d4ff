"""Auctions: the one price at which a crossed book trades."""
