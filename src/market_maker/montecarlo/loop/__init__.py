"""The compiled loop of a simulated run and its memory."""
