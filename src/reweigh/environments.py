"""The text that names an environment -> a gymnasium environment whose observations are flat boxes."""

import contextlib
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from reweigh.datasets.environment_names import split_environment
from reweigh.datasets.observations import flatten, key_order
from reweigh.datasets.scores import D4RL_PREFIX, Entry, catalog
from reweigh.errors import ConfigError, did_you_mean


def open_environment(env: str) -> gymnasium.Env:
    """Open an environment; errors of its package are left to the caller.

    Args:
        env: a gymnasium ID, one with options as JSON, or `d4rl:NAME`.

    Raises:
        ConfigError: the text is none of these, or no current environment matches D4RL's.
    """
    if env.startswith(D4RL_PREFIX):
        return _open_as_d4rl(env.removeprefix(D4RL_PREFIX))
    env_id, options = split_environment(env)
    return _flat(_make(env_id, options))


def _make(env_id: str, options: Mapping[str, Any]) -> gymnasium.Env:
    if env_id not in gymnasium.registry and ":" not in env_id:
        # Silences a notice on its rewards, which docs/environments.md covers in full.
        with contextlib.suppress(ImportError), contextlib.redirect_stderr(io.StringIO()):
            import gymnasium_robotics  # pyright: ignore[reportMissingImports] - an extra

            gymnasium.register_envs(gymnasium_robotics)
    entry = gymnasium.registry.get(env_id)
    if entry is not None and str(entry.entry_point).startswith("gymnasium_robotics"):
        # The checker warns of reused goal arrays, which nothing here modifies.
        options = {"disable_env_checker": True, **options}
    return gymnasium.make(env_id, **options)


def _flat(environment: gymnasium.Env) -> gymnasium.Env:
    """Flatten dictionaries of boxes, in the order that datasets use."""
    space = environment.observation_space
    if not isinstance(space, spaces.Dict):
        return environment
    size = _size(space)
    return environment if size is None else _observing(environment, flatten, size)


def _size(space: spaces.Space) -> int | None:
    """Size of a flat observation; None: a part is not a box of one axis."""
    if isinstance(space, spaces.Dict):
        sizes = [_size(space[key]) for key in key_order(space)]
        return None if None in sizes else sum(size for size in sizes if size)
    return space.shape[0] if isinstance(space, spaces.Box) and len(space.shape) == 1 else None


def _observing(environment: gymnasium.Env, observe: Any, size: int) -> gymnasium.Env:
    box = spaces.Box(-np.inf, np.inf, (size,), np.float64)
    return gymnasium.wrappers.TransformObservation(environment, observe, box)


def _open_as_d4rl(name: str) -> gymnasium.Env:
    """The environment that scores one of D4RL's datasets, made like D4RL's from the current one.

    docs/environments.md says what is set here and what remains different.
    """
    known = catalog()
    if name not in known:
        hint = did_you_mean(name, known, "d4rl:antmaze-umaze-v2")
        raise ConfigError(f"expected one of D4RL's datasets after {D4RL_PREFIX}, but found {name!r}. {hint}")
    entry = known[name]
    if entry.evaluate_in is None:
        raise ConfigError(
            f"expected an environment for {D4RL_PREFIX}{name}, but none of today's has its maze. Name "
            "another with --env, or train with --no-evaluate."
        )
    return _OPENERS.get(entry.family, _with_limit)(entry)


def _with_limit(entry: Entry, **options: Any) -> gymnasium.Env:
    assert entry.evaluate_in is not None
    return _make(entry.evaluate_in, {"max_episode_steps": entry.max_episode_steps, **options})


def _ant(entry: Entry) -> gymnasium.Env:
    """D4RL's 111 observations: its contact forces are 0 throughout."""
    forces = np.zeros(84)
    return _observing(_with_limit(entry), lambda observation: np.concatenate([observation, forces]), 111)


# Elements of D4RL's observation of 30 joints (9 of the robot), and their goal positions.
_KITCHEN_GOALS = {
    "bottom burner": (slice(11, 13), (-0.88, -0.01)),
    "light switch": (slice(17, 19), (-0.69, -0.05)),
    "slide cabinet": (slice(19, 20), (0.37,)),
    "microwave": (slice(22, 23), (-0.75,)),
    "kettle": (slice(23, 30), (-0.23, 0.75, 1.62, 0.99, 0.0, 0.0, -0.06)),
}


def _kitchen(entry: Entry) -> gymnasium.Env:
    """D4RL's 60 observations: positions of robot and objects, then of the goal, without velocities."""
    fourth = "bottom burner" if entry.name.startswith("kitchen-mixed") else "slide cabinet"
    tasks = ["microwave", "kettle", "light switch", fourth]
    goal = np.zeros(30)
    for task in tasks:
        where, position = _KITCHEN_GOALS[task]
        goal[where] = position

    def observe(observation: Mapping[str, np.ndarray]) -> np.ndarray:
        state = observation["observation"]
        return np.concatenate([state[:9], state[18:39], goal])

    return _observing(_with_limit(entry, tasks_to_complete=tasks), observe, 60)


# From the palm to what it should grasp. Current environments add 0.1 times its length instead.
_REACH: dict[str, Any] = {
    "door": lambda observation: observation[35:38],
    "hammer": lambda observation: observation[33:36] - observation[36:39],
    "relocate": lambda observation: observation[30:33],
}


class _Adroit(gymnasium.Wrapper):
    """D4RL's dense reward, whose first term penalizes the hand's distance, and its early end."""

    _PEN_HEIGHT, _DROPPED = 26, 0.075

    def __init__(self, entry: Entry):
        super().__init__(_with_limit(entry))
        self.family = entry.family

    def step(self, action: Any) -> Any:
        observation, reward, terminal, timeout, info = self.env.step(action)
        if self.family == "pen":
            terminal = terminal or bool(observation[self._PEN_HEIGHT] < self._DROPPED)
        else:
            reward = float(reward) - 0.2 * float(np.linalg.norm(_REACH[self.family](observation)))
        return observation, reward, terminal, timeout, info


# The only goal of each of D4RL's mazes, as row and column.
_GOAL_CELLS = {"umaze": (3, 1), "medium": (6, 6), "large": (7, 9), "open": (2, 3)}


class _Maze(gymnasium.Wrapper, ABC):
    """D4RL's goal, reward and coordinates in a current maze, whose map must have the same axes."""

    def __init__(self, environment: gymnasium.Env, shift: tuple[float, float], size: int):
        super().__init__(environment)
        self.shift = np.array(shift)
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observation, info = self.env.reset(seed=seed, options=options)
        maze: Any = self.env.unwrapped
        maze.goal = self._goal(maze.np_random) - self.shift
        maze.update_target_site_pos()
        return self._observe(self._start(maze, observation)), info

    def step(self, action: Any) -> Any:
        observation, _, _, timeout, info = self.env.step(action)
        maze: Any = self.env.unwrapped
        distance = float(np.linalg.norm(observation["achieved_goal"] - maze.goal))
        reward, terminal = self._outcome(distance)
        return self._observe(observation), reward, terminal, timeout, info

    @abstractmethod
    def _goal(self, rng: np.random.Generator) -> np.ndarray:
        """Where the goal is, in D4RL's coordinates."""

    @abstractmethod
    def _start(self, maze: Any, observation: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Place the robot and return the observation from there."""

    @abstractmethod
    def _observe(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """The observation as D4RL's environment gives it."""

    @abstractmethod
    def _outcome(self, distance: float) -> tuple[float, bool]:
        """Reward, and whether the episode ends."""


class _AntMaze(_Maze):
    """29 observations, positions from the start cell; reward 1 and the end within 0.5 of a random goal."""

    _SCALE = 4.0

    def __init__(self, entry: Entry):
        cells = _map_of(entry)
        size = entry.name.split("-")[1]
        row, column = _GOAL_CELLS[size]
        cells[1][1], cells[row][column] = "r", "g"
        # Upside down, because y grows with the row in D4RL.
        environment = _with_limit(entry, maze_map=cells[::-1], reward_type="sparse", continuing_task=True)
        super().__init__(environment, (2 * len(cells[0]) - 6.0, 2 * len(cells) - 6.0), 29)
        self.goal_cell = self._SCALE * np.array([column - 1, row - 1])
        model = self.env.unwrapped.ant_env.model  # pyright: ignore[reportAttributeAccessIssue]
        # D4RL's ant has a fifth of the torque, twice the time step, and softer ground.
        model.actuator_gear[:, 0] = 30
        model.opt.timestep = 0.02
        model.geom_solimp[:, :3] = (0.8, 0.8, 0.01)

    def _goal(self, rng: np.random.Generator) -> np.ndarray:
        return self.goal_cell + rng.uniform(0, 1, 2) + rng.uniform(0, 0.5, 2)

    def _start(self, maze: Any, observation: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        ant, rng = maze.ant_env, maze.np_random
        position = ant.init_qpos.copy()
        position[:2] = -self.shift
        position += rng.uniform(-0.1, 0.1, position.shape)
        ant.set_state(position, 0.1 * rng.standard_normal(ant.init_qvel.shape))
        rest = np.concatenate([ant.data.qpos[2:], ant.data.qvel])
        return {"achieved_goal": ant.data.qpos[:2].copy(), "observation": rest}

    def _observe(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([observation["achieved_goal"] + self.shift, observation["observation"]])

    def _outcome(self, distance: float) -> tuple[float, bool]:
        return float(distance <= 0.5), distance <= 0.5


class _PointMaze(_Maze):
    """4 observations, positions in rows and columns; a reward at every step near a fixed goal."""

    def __init__(self, entry: Entry):
        cells = _map_of(entry)
        size = entry.name.split("-")[1]
        self.target = np.array((1, 1) if size == "umaze" else _GOAL_CELLS[size], float)
        self.free = [(i, j) for i, row in enumerate(cells) for j, cell in enumerate(row) if cell != 1]
        self.dense = "-dense-" in entry.name
        # Rotated, because x grows with the row in D4RL and y with the column.
        turned = [[row[column] for row in cells] for column in reversed(range(len(cells[0])))]
        environment = _with_limit(entry, maze_map=turned, continuing_task=True, reset_target=False)
        super().__init__(environment, (len(cells) / 2 - 0.7, len(cells[0]) / 2 - 0.7), 4)

    def _goal(self, rng: np.random.Generator) -> np.ndarray:
        return self.target

    def _start(self, maze: Any, observation: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        point, rng = maze.point_env, maze.np_random
        cell = np.array(self.free[rng.integers(len(self.free))], float)
        position = cell + rng.uniform(-0.1, 0.1, 2) - self.shift
        point.set_state(position, 0.1 * rng.standard_normal(2))
        return {"observation": np.concatenate([point.data.qpos, point.data.qvel])}

    def _observe(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        position, velocity = np.split(observation["observation"], 2)
        return np.concatenate([position + self.shift, velocity])

    def _outcome(self, distance: float) -> tuple[float, bool]:
        return float(np.exp(-distance)) if self.dense else float(distance <= 0.5), False


def _map_of(entry: Entry) -> list[list[Any]]:
    """Walls (1) and free cells (0) of the current maze, the same as D4RL's."""
    assert entry.evaluate_in is not None
    _make(entry.evaluate_in, {}).close()  # registers it
    kwargs = gymnasium.spec(entry.evaluate_in).kwargs
    return [[1 if cell == 1 else 0 for cell in row] for row in kwargs["maze_map"]]


_OPENERS: dict[str, Any] = {
    "ant": _ant,
    "kitchen": _kitchen,
    "antmaze": _AntMaze,
    "maze2d": _PointMaze,
    **dict.fromkeys(("pen", "door", "hammer", "relocate"), _Adroit),
}
