"""What own orders have at each tick: queues and marks of what was taken."""
