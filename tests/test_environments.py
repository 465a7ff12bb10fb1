import sys

import numpy as np
import pytest

from reweigh.cli import main
from reweigh.datasets.d4rl import entry_of
from reweigh.datasets.normalizer import identity_normalizer
from reweigh.datasets.scores import catalog, limit_of, reference_of_env
from reweigh.errors import ConfigError
from reweigh.evaluation import evaluate, make_environment
from reweigh.policy import Policy


@pytest.fixture
def opened():
    """Opens environments that need the extra, and closes them."""
    pytest.importorskip(
        "gymnasium_robotics", reason="gymnasium-robotics is not installed: pip install 'reweigh[robotics]'"
    )
    found = []

    def open_one(env):
        found.append(make_environment(env))
        found[-1].reset(seed=0)
        return found[-1]

    yield open_one
    for environment in found:
        environment.close()


# D4RL's observations and actions, and where the dataset's environment is another than it seems.
SIZES = {
    "antmaze-umaze-v2": (29, 8),
    "antmaze-large-play-v0": (29, 8),
    "maze2d-large-v1": (4, 2),
    "maze2d-open-dense-v0": (4, 2),
    "pen-human-v1": (45, 24),
    "door-cloned-v1": (39, 28),
    "hammer-expert-v1": (46, 26),
    "relocate-human-v0": (39, 30),
}


@pytest.mark.parametrize(("name", "sizes"), SIZES.items())
def test_observations_actions_and_limit_are_those_of_the_dataset(name, sizes, opened):
    environment = opened(f"d4rl:{name}")
    observation, _ = environment.reset(seed=3)
    assert (observation.shape, environment.action_space.shape) == ((sizes[0],), (sizes[1],))
    assert environment.observation_space.shape == observation.shape
    assert (environment.action_space.low == -1).all()
    assert environment.spec.max_episode_steps == catalog()[name].max_episode_steps
    again, _ = environment.reset(seed=3)
    np.testing.assert_array_equal(observation, again)


def test_ant_has_the_111_observations_of_d4rl_the_last_84_of_which_are_0():
    environment = make_environment("d4rl:ant-medium-v2")
    observation, _ = environment.reset(seed=0)
    environment.close()
    assert observation.shape == environment.observation_space.shape == (111,)
    assert (observation[27:] == 0).all()
    assert (observation[:27] != 0).all()


MAP = ["########", "#OO##OO#", "#OO#OOO#", "##OOO###", "#OO#OOO#", "#O#OO#O#", "#OOO#OO#", "########"]


@pytest.mark.parametrize("name", ["antmaze-medium-play-v2", "maze2d-medium-v1"])
def test_walls_stand_where_d4rl_has_them(name, opened):
    """AntMaze: x along columns, y along rows, from the start; maze2d: x along rows, y along columns."""
    environment = opened(f"d4rl:{name}")
    maze = environment.unwrapped
    model = (maze.ant_env if name.startswith("ant") else maze.point_env).model
    blocks = [i for i in range(model.ngeom) if model.geom(i).name.startswith("block")]
    walls = np.array([model.geom_pos[i, :2] for i in blocks]) + environment.shift
    cells = np.array([(i, j) for i, row in enumerate(MAP) for j, c in enumerate(row) if c == "#"], float)
    expected = 4 * (cells[:, ::-1] - 1) if name.startswith("ant") else cells - 0.2
    assert sorted(map(tuple, walls.round(6))) == sorted(map(tuple, expected.round(6)))


def test_the_ant_starts_at_the_origin_and_the_episode_ends_at_the_goal(opened):
    environment = opened("d4rl:antmaze-medium-diverse-v2")
    goals = []
    for seed in range(4):
        observation, _ = environment.reset(seed=seed)
        assert (np.abs(observation[:2]) <= 0.1).all()
        goals.append(environment.unwrapped.goal + environment.shift)
    assert (np.array(goals) >= 20).all()
    assert (np.array(goals) <= 21.5).all()
    assert len(np.unique(goals)) == 8
    _, reward, terminal, _, _ = environment.step(environment.action_space.low)
    assert (reward, terminal) == (0, False)
    ant = environment.unwrapped.ant_env
    position = ant.data.qpos.copy()
    position[:2] = environment.unwrapped.goal
    ant.set_state(position, np.zeros_like(ant.data.qvel))
    observation, reward, terminal, _, _ = environment.step(np.zeros(8, np.float32))
    assert (reward, terminal) == (1, True)
    np.testing.assert_allclose(observation[:2], goals[-1], atol=0.1)


def test_the_ant_acts_as_long_and_as_strongly_as_d4rls(opened):
    model = opened("d4rl:antmaze-umaze-v2").unwrapped.ant_env
    assert model.dt == pytest.approx(0.1)
    assert (model.model.actuator_gear[:, 0] == 30).all()


@pytest.mark.parametrize(("name", "near", "far"), [("umaze", 1.0, 0.0), ("umaze-dense", 1.0, None)])
def test_the_point_is_paid_at_every_step_near_its_fixed_goal(name, near, far, opened):
    environment = opened(f"d4rl:maze2d-{name}-v1")
    point = environment.unwrapped.point_env
    for cell, expected in (((1, 1), near), ((3, 1), far)):
        point.set_state(np.array(cell) - environment.shift, np.zeros(2))
        observation, reward, terminal, timeout, _ = environment.step(np.zeros(2, np.float32))
        np.testing.assert_allclose(observation, [*cell, 0, 0], atol=1e-3)
        assert reward == pytest.approx(np.exp(-2) if expected is None else expected, abs=1e-3)
        assert not terminal
        assert not timeout


def test_the_kitchen_shows_positions_and_the_goals_of_its_own_tasks(opened):
    environment = opened("d4rl:kitchen-mixed-v0")
    assert environment.observation_space.shape == (60,)
    observation, _ = environment.reset(seed=0)
    state = environment.unwrapped.data.qpos
    np.testing.assert_allclose(observation[:30], state, atol=0.01)
    assert np.flatnonzero(observation[30:]).tolist() == [11, 12, 17, 18, 22, 23, 24, 25, 26, 29]
    assert environment.unwrapped.tasks_to_complete == {"microwave", "kettle", "light switch", "bottom burner"}
    complete, _ = opened("d4rl:kitchen-complete-v0").reset(seed=0)
    assert np.flatnonzero(complete[30:]).tolist() == [17, 18, 19, 22, 23, 24, 25, 26, 29]


def test_the_doors_reward_is_d4rls(opened):
    environment = opened("d4rl:door-human-v1")
    observation, reward, *_ = environment.step(0.3 * np.ones(28, np.float32))
    data = environment.unwrapped.data
    reach, door = np.linalg.norm(observation[29:32] - observation[32:35]), observation[28]
    assert reach > 0.1
    velocity = 1e-5 * np.sum(data.qvel**2)
    assert reward == pytest.approx(-0.1 * reach - 0.1 * (door - 1.57) ** 2 - velocity)


@pytest.mark.parametrize(("name", "body"), [("hammer", "Object"), ("relocate", "Object")])
def test_reaching_lowers_the_reward_by_a_tenth_of_the_distance(name, body, opened):
    environment = opened(f"d4rl:{name}-human-v1")
    plain = opened(f"AdroitHand{name.title()}-v1")
    action = np.zeros(environment.action_space.shape, np.float32)
    reward, other = (each.step(action)[1] for each in (environment, plain))
    data = environment.unwrapped.data
    palm, target = data.site("S_grasp").xpos, data.body(body).xpos
    assert other - reward == pytest.approx(0.2 * np.linalg.norm(palm - target), rel=1e-5)


def test_dropping_the_pen_ends_the_episode(opened):
    environment = opened("d4rl:pen-human-v1")
    observation, _, terminal, _, _ = environment.step(np.zeros(24, np.float32))
    assert observation[26] > 0.075
    assert not terminal
    environment.unwrapped.data.qpos[-6] += 0.3  # downwards
    observation, reward, terminal, _, _ = environment.step(np.zeros(24, np.float32))
    assert observation[26] < 0.075
    assert reward < -4
    assert terminal


def test_goal_environments_of_the_extra_are_flattened(opened):
    environment = opened("PointMaze_UMaze-v3")
    observation, _ = environment.reset(seed=1)
    np.testing.assert_array_equal(observation[:2], observation[2:4])
    np.testing.assert_array_equal(observation[6:], environment.unwrapped.goal)
    assert opened("AntMaze_UMaze-v4").observation_space.shape == (31,)


def test_references_are_never_those_of_another_task():
    assert reference_of_env("AdroitHandDoor-v1") == (-56.512833, 2880.5693087298737)
    assert reference_of_env("Ant-v4") == (-325.6, 3879.7)
    assert reference_of_env('Hopper-v4 {"max_episode_steps": 1000}') == reference_of_env("Hopper-v4")
    for env in (
        "AntMaze_UMaze-v4", "PointMaze_UMaze-v3", "FrankaKitchen-v1", "AdroitHandPen-v1",
        'Hopper-v4 {"max_episode_steps": 100}', 'Hopper-v4 {"terminate_when_unhealthy": false}', "Nowhere-v0",
        'Hopper-v4 {"max_episode_steps": [1]}', "d4rl:no-such-v0",
    ):  # fmt: skip
        assert reference_of_env(env) is None, env
    for name, entry in catalog().items():
        assert reference_of_env(f"d4rl:{name}") == (entry.reference_min, entry.reference_max)
        assert limit_of("any.hdf5", f"d4rl:{name}") == entry.max_episode_steps
        assert entry.env in (None, entry.evaluate_in, f"d4rl:{name}")


def test_d4rls_ant_is_trained_like_todays():
    from reweigh.algorithms.iql import IQLConfig
    from reweigh.config import DataConfig, RunConfig
    from reweigh.options.presets import with_defaults

    plain = RunConfig(data=DataConfig("file.hdf5"), algorithm=IQLConfig())
    for env in ("d4rl:ant-medium-v2", 'Ant-v4 {"max_episode_steps": 1000}'):
        assert with_defaults(plain, env) == with_defaults(plain, "Ant-v4") != with_defaults(plain, None)


def test_a_name_without_an_environment_says_so_in_one_line(capsys):
    for env, said in {
        "d4rl:antmaze-umaze-v9": "Did you mean antmaze-umaze-v",
        "d4rl:antmaze-eval-umaze-v0": "none of today's has its maze",
    }.items():
        assert (
            main(["collect", "--env", env, "--policy", "random", "--num-steps", "5", "--out", "x.hdf5"]) == 1
        )
        found = capsys.readouterr().err
        assert said in found
        assert found.count("\n") == 1


def test_without_the_extra_the_remedy_is_named(monkeypatch):
    import gymnasium

    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    monkeypatch.delitem(gymnasium.registry, "AdroitHandDoor-v1", raising=False)
    for env in ("AdroitHandDoor-v1", f"d4rl:{entry_of('door-human-v1').name}"):
        with pytest.raises(ConfigError, match=r"pip install 'reweigh\[robotics\]'"):
            make_environment(env)


def test_a_policy_of_the_door_is_tried_and_scored(opened, real_data, tmp_path, capsys):
    file = real_data / "door-human.hdf5"
    if not file.is_file():
        pytest.skip(f"no {file.name} among the real datasets")
    assert main(["inspect", str(file), "--env", "d4rl:door-human-v1"]) == 0
    assert "-56.5128 and 2880.57, D4RL's" in capsys.readouterr().out
    layers = ((np.zeros((39, 28), np.float32), np.zeros(28, np.float32)),)
    from reweigh.datasets.normalizer import identity_normalizer

    ones = np.ones(28, np.float32)
    policy = Policy(layers, identity_normalizer(39), -ones, ones)
    found = evaluate(opened("d4rl:door-human-v1"), policy, [0, 1])
    assert found.episode_length.tolist() == [200, 200]
    assert (np.abs(found.episode_return + 56.5) < 5).all()  # D4RL's random policy is as far from the door


def test_an_episode_that_does_not_end_is_said_instead_of_waited_for(monkeypatch):
    monkeypatch.setattr("reweigh.evaluation.LONGEST_EPISODE", 5)
    environment = make_environment('InvertedPendulum-v4 {"max_episode_steps": 100}')
    low, high = (np.full(1, bound, np.float32) for bound in (-3, 3))
    layers = ((np.zeros((4, 1), np.float32), np.zeros(1, np.float32)),)
    policy = Policy(layers, identity_normalizer(4), low, high, {})
    with pytest.raises(ConfigError, match="InvertedPendulum-v4 to end, but one has gone on for 5 steps"):
        evaluate(environment, policy, [0])
    environment.close()


def test_a_datasets_own_references_score_its_own_environment_alone():
    layers, ones = ((np.zeros((11, 3), np.float32), np.zeros(3, np.float32)),), np.ones(3, np.float32)
    meta = {"env": "Hopper-v4", "reference": [0.0, 10.0]}
    policy = Policy(layers, identity_normalizer(11), -ones, ones, meta)
    assert policy.reference_in("Hopper-v4") == (0.0, 10.0)
    assert policy.reference_in("Walker2d-v4") == (1.629008, 4592.3)


@pytest.mark.parametrize(
    ("name", "goal"),
    [("umaze-v1", (1, 1)), ("medium-v1", (6, 6)), ("large-v1", (7, 9)), ("open-v0", (2, 3))],
)
def test_the_point_is_paid_within_half_a_cell_of_d4rls_goal(name, goal, opened):
    environment = opened(f"d4rl:maze2d-{name}")
    side = 1 if goal[1] == 1 else -1  # where there is no wall
    for distance, expected in ((0.45, 1.0), (0.55, 0.0)):
        place = np.array([goal[0], goal[1] + side * distance])
        environment.unwrapped.point_env.set_state(place - environment.shift, np.zeros(2))
        assert environment.step(np.zeros(2, np.float32))[1] == expected


def test_the_ant_of_the_large_maze_has_d4rls_goal_and_reach(opened):
    environment = opened("d4rl:antmaze-large-play-v2")
    assert environment.goal_cell.tolist() == [32, 24]
    assert [environment._outcome(d) for d in (0.5, 0.51)] == [(1.0, True), (0.0, False)]
