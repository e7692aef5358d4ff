"""The owner's side of a replay: `kernel`."""
