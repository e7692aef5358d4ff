"""What is written down of own orders: `kernel`."""
