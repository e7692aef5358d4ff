"""Environments of reinforcement learning over the simulated market; need the extra `gym`."""

from market_maker.gymnasium.environment import MarketMakingEnv, MarketMakingVectorEnv
from market_maker.gymnasium.episode import EpisodeConfig

__all__ = ["EpisodeConfig", "MarketMakingEnv", "MarketMakingVectorEnv"]
