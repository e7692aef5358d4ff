"""Price-time priority."""
