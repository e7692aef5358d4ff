"""Loss: risk figures of positions, limits on them and alerts about them."""
