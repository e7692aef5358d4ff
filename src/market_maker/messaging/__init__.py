"""NEWS: topics and envelopes, the bus in two forms, and the relay from outbox to bus."""
