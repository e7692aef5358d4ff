"""What invented participants do next."""
