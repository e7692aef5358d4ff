"""SIGNALS: metrics, resources, health and logs."""
