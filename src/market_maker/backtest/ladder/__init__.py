"""The recorded book as levels of quantity by tick; its rules are in `kernel`."""
