"""The environments: one episode at a time, or many side by side, by the interfaces of gymnasium."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from market_maker.domain.errors import InvalidRequest
from market_maker.gymnasium.episode import OBSERVED, OBSERVED_MAX, Episode, EpisodeConfig

SEED_MAX = (1 << 31) - 1
ENVS_MAX = 4_096


def observation_space() -> spaces.Space[Any]:
    """Return the space of what an agent sees."""
    return spaces.Box(-OBSERVED_MAX, OBSERVED_MAX, (len(OBSERVED),), np.float32)


def action_space() -> spaces.Space[Any]:
    """Return the space of an agent's quotes: distances of bid and ask from the mid, 1 for none."""
    return spaces.Box(0.0, 1.0, (2,), np.float32)


class MarketMakingEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """An agent that quotes one bid and one ask on a synthetic market; see `Episode` for actions, observations and reward.

    An episode is truncated when its time is over, and never terminates before. `info` has `net_pnl` in quote currency and
    `inventory_lots`.

    Parameters
    ----------
    config : of all episodes; the default market where left out

    Examples
    --------
    >>> env = MarketMakingEnv(EpisodeConfig(duration_ns=5_000_000_000))
    >>> seen, info = env.reset(seed=1)
    >>> seen.shape, info["inventory_lots"]
    ((8,), 0)
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (the interface's own name and kind)

    def __init__(self, config: EpisodeConfig | None = None) -> None:
        self.config = config or EpisodeConfig()
        self.observation_space = observation_space()
        self.action_space = action_space()
        self.episode: Episode | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode on a market of its own, drawn from the seed; options are not used."""
        super().reset(seed=seed, options=options)
        self.episode = Episode(self.config, int(self.np_random.integers(SEED_MAX)))
        return self.episode.observe(), _info(self.episode)

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Quote for one step; InvalidRequest before the first reset."""
        episode = self.episode
        if episode is None:
            raise InvalidRequest.of("step", "before reset", "reset first")
        reward = episode.step(action)
        return episode.observe(), reward, False, episode.is_over, _info(episode)


class MarketMakingVectorEnv(VectorEnv[NDArray[np.float32], NDArray[np.float32], NDArray[Any]]):
    """Many agents side by side, each on a market of its own; one that is over begins anew at the next step.

    Parameters
    ----------
    num_envs : how many
    config : of all episodes
    threads : the compiled market releases the interpreter's lock; more than one pays for long steps of busy markets
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, num_envs: int, config: EpisodeConfig | None = None, *, threads: int = 1) -> None:
        if not 1 <= num_envs <= ENVS_MAX:
            raise InvalidRequest.of("num_envs", num_envs, f"1 to {ENVS_MAX}")
        self.config = config or EpisodeConfig()
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = observation_space(), action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._episodes: list[Episode] = []
        self._begins = np.zeros(num_envs, np.bool_)
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin all episodes; each has a seed of its own, drawn from the one given, or given for each."""
        given = None if seed is None or isinstance(seed, int) else list(seed)
        super().reset(seed=seed if isinstance(seed, int) else None, options=options)
        seeds = [int(each) for each in self.np_random.integers(SEED_MAX, size=self.num_envs)]
        if given is not None:
            if len(given) != self.num_envs:
                raise InvalidRequest.of("seed", f"{len(given)} seeds", f"one for each of {self.num_envs}")
            seeds = [drawn if each is None else each for drawn, each in zip(seeds, given, strict=True)]
        self._episodes = self._all(lambda place: Episode(self.config, seeds[place]))
        self._begins[:] = False
        return np.stack([episode.observe() for episode in self._episodes]), self._infos()

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Let every agent quote for one step; the action of one that begins anew is not looked at."""
        if not self._episodes:
            raise InvalidRequest.of("step", "before reset", "reset first")
        seeds = self.np_random.integers(SEED_MAX, size=self.num_envs) if self._begins.any() else None

        def one(place: int) -> float:
            if self._begins[place]:
                assert seeds is not None
                self._episodes[place] = Episode(self.config, int(seeds[place]))
                return 0.0
            return self._episodes[place].step(actions[place])

        rewards = np.array(self._all(one), np.float64)
        seen = np.stack([episode.observe() for episode in self._episodes])
        self._begins = np.array([episode.is_over for episode in self._episodes])
        return seen, rewards, np.zeros(self.num_envs, np.bool_), self._begins.copy(), self._infos()

    def close_extras(self, **_: Any) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _all(self, work: Any) -> list[Any]:
        places = range(self.num_envs)
        return [work(place) for place in places] if self._pool is None else list(self._pool.map(work, places))

    def _infos(self) -> dict[str, Any]:
        return {
            "net_pnl": np.array([episode.net_pnl for episode in self._episodes]),
            "inventory_lots": np.array([episode.inventory_lots for episode in self._episodes]),
        }


def _info(episode: Episode) -> dict[str, Any]:
    return {"net_pnl": episode.net_pnl, "inventory_lots": episode.inventory_lots}
