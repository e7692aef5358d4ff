"""History: importing, checking and storing recorded markets, and handing them to replays."""
