"""The historical clock: replays of recorded order books."""
