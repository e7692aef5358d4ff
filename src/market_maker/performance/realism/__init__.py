"""How much a market looks like a real one: stylised facts of a window of it, and their distance from those of another."""
