"""The live clock: the simulated exchange that runs in real time."""
