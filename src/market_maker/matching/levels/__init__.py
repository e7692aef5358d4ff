"""Price levels of a book: pages of ticks."""
