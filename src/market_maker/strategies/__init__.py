"""What decides the quotes: the strategy contract and the strategies shipped with it. Knows no venue and no storage."""
