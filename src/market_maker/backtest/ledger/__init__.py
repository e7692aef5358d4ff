"""The money of own orders: `kernel`."""
