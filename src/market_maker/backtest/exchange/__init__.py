"""The venue of a replay: own orders in the recorded book; its rules are in `kernel`."""
