"""The simulated exchange around the book: acceptance, latency, fills, positions and funds."""
