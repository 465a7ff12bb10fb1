"""Imbalanced datasets: what is drawn, how much of it, and what the file holds."""

import dataclasses
import hashlib
import time

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reweigh import ConfigError, DatasetError, load
from reweigh.cli import main
from reweigh.datasets.episodes import episode_starts
from reweigh.datasets.files import read_hdf5, write_hdf5
from reweigh.datasets.mixtures import MixRecipe, mix, with_timeouts
from reweigh.datasets.rows import Rows


def make_source(lengths, *, sign: int = 1, ends: str = "terminal", seed: int = 0) -> Rows:
    """Row `i` observes `sign * (i + 1)`; episodes end in a terminal, a timeout, both, or change in turn."""
    lengths = np.asarray(lengths)
    count, last = int(lengths.sum()), np.cumsum(lengths) - 1
    terminal, timeout = np.zeros(count, bool), np.zeros(count, bool)
    turn = np.arange(len(last)) % 3
    terminal[last] = {"terminal": turn >= 0, "timeout": turn < 0, "in turn": turn != 0}[ends]
    timeout[last] = {"terminal": turn < 0, "timeout": turn >= 0, "in turn": turn != 1}[ends]
    rng = np.random.default_rng(seed)
    return Rows(
        observation=sign * np.arange(1, count + 1, dtype=np.float32)[:, None],
        action=rng.uniform(-1, 1, (count, 2)).astype(np.float32),
        reward=rng.normal(size=count).astype(np.float32),
        terminal=terminal,
        timeout=timeout,
    )


def pieces_of(rows: Rows, source: int) -> list[np.ndarray]:
    """The stretches of a mix as rows of their source, in the order drawn."""
    chosen = np.flatnonzero(rows.source == source)
    starts = episode_starts((rows.terminal | rows.timeout)[chosen])
    row = np.abs(rows.observation[chosen, 0]).astype(int) - 1
    return np.split(row, starts[1:])


def assert_copied(rows: Rows, good: Rows, bad: Rows):
    """Every row equals its source's in every field, but for timeouts."""
    for label, source in ((1, good), (0, bad)):
        here = rows.source == label
        row = np.abs(rows.observation[here, 0]).astype(int) - 1
        for name in ("observation", "action", "reward", "terminal"):
            np.testing.assert_array_equal(getattr(rows, name)[here], getattr(source, name)[row])


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=8),
    st.sampled_from([0.01, 0.05, 0.07, 0.1, 0.25, 0.5, 0.9]),
    st.integers(2, 300),
    st.integers(0, 5),
)
def test_drawing_stops_at_the_first_total_that_reaches_the_target(lengths, ratio, size, seed):
    good, bad = make_source(lengths), make_source(lengths[::-1], sign=-1)
    rows, made = mix(good, bad, MixRecipe(ratio=ratio, size=size, seed=seed))
    good_pieces, bad_pieces = pieces_of(rows, 1), pieces_of(rows, 0)
    total = sum(map(len, good_pieces))
    assert total >= ratio * size - 1e-9
    assert total - len(good_pieces[-1]) < ratio * size - 1e-9
    if total < size:
        assert len(rows) >= size
        assert len(rows) - len(bad_pieces[-1]) < size
    else:
        assert len(rows) == total, "nothing is left for the bad source"
    assert made["mix_good_rows"] == total
    assert made["mix_ratio_reached"] == total / len(rows)
    assert made["mix_good_episodes"] == len(good_pieces)


@pytest.mark.parametrize("ratio", [0.01, 0.05, 0.07, 0.1, 0.25, 0.29, 0.5, 0.55])
def test_a_ratio_that_rows_can_meet_is_met_exactly(ratio):
    source = make_source(np.ones(50, int))
    rows, made = mix(source, source, MixRecipe(ratio=ratio, size=100))
    assert (rows.source == 1).sum() == round(100 * ratio)  # 0.07 * 100 is a little more than 7
    assert made["mix_ratio_reached"] == pytest.approx(ratio)
    assert made["mix_bad_rows"] == 100 - round(100 * ratio)
    assert len(rows) == 100


def test_overshoot_draws_one_episode_more_only_where_the_target_is_met_exactly():
    tens = make_source([10] * 5)
    plain, _ = mix(tens, tens, MixRecipe(ratio=0.2, size=100))
    over, _ = mix(tens, tens, MixRecipe(ratio=0.2, size=100, overshoot=True))
    assert [(rows.source == 1).sum() for rows in (plain, over)] == [20, 30]
    assert [len(rows) for rows in (plain, over)] == [100, 110]
    missed = MixRecipe(ratio=0.25, size=95)
    plain, _ = mix(tens, tens, missed)  # 23.75 rows, then 65
    over, _ = mix(tens, tens, dataclasses.replace(missed, overshoot=True))
    np.testing.assert_array_equal(plain.observation, over.observation)


def test_good_rows_come_first_and_every_row_names_its_source():
    good, bad = make_source([7, 9, 4]), make_source([8, 5], sign=-1)
    rows, _ = mix(good, bad, MixRecipe(ratio=0.3, size=200))
    np.testing.assert_array_equal(rows.source == 1, rows.observation[:, 0] > 0)
    assert (np.diff(rows.source) <= 0).all()
    assert set(rows.source) == {0, 1}
    assert_copied(rows, good, bad)


def test_episodes_are_copied_whole_with_their_timeouts():
    lengths = [6, 1, 4, 1, 3, 8]
    good, bad = make_source(lengths, ends="in turn"), make_source(lengths, sign=-1, ends="timeout")
    rows, _ = mix(good, bad, MixRecipe(ratio=0.5, size=400))
    assert_copied(rows, good, bad)
    whole = {tuple(range(end - length, end)) for length, end in zip(lengths, np.cumsum(lengths), strict=True)}
    for label, source in ((1, good), (0, bad)):
        assert {tuple(piece) for piece in pieces_of(rows, label)} == whole
        here = rows.source == label
        row = np.abs(rows.observation[here, 0]).astype(int) - 1
        np.testing.assert_array_equal(rows.timeout[here], source.timeout[row])


def test_the_unfinished_end_of_a_record_becomes_a_timeout():
    source = make_source([3, 4])
    source = dataclasses.replace(source, terminal=source.terminal & (np.arange(7) < 6))
    rows, _ = mix(source, source, MixRecipe(ratio=0.5, size=100))
    unfinished = rows.observation[:, 0] == 7
    assert unfinished.any()
    np.testing.assert_array_equal(rows.timeout, unfinished)
    assert not source.timeout.any()


def test_segments_are_short_stretches_whose_cut_ends_are_timeouts():
    good, bad = make_source([2000, 700]), make_source([1000, 3], sign=-1, ends="timeout")
    before = [column.copy() for source in (good, bad) for column in (source.terminal, source.timeout)]
    rows, made = mix(good, bad, MixRecipe(ratio=0.5, size=60_000, kind="segments"))
    assert_copied(rows, good, bad)
    ends = rows.terminal | rows.timeout
    # No stretch is cut where an earlier one ended: as many ends as draws.
    assert ends.sum() == made["mix_good_episodes"] + made["mix_bad_episodes"]
    assert ends[-1]
    assert (rows.timeout & ~rows.terminal & (rows.source == 1)).sum() > 10
    for label, source in ((1, good), (0, bad)):
        source_ends = source.terminal | source.timeout
        lengths = []
        for piece in pieces_of(rows, label):
            assert (np.diff(piece) == 1).all()
            assert not source_ends[piece[:-1]].any(), "a stretch runs across an end"
            assert len(piece) >= 5 or source_ends[piece[-1]]
            lengths.append(len(piece))
        assert 450 < max(lengths) <= 499
    after = [column for source in (good, bad) for column in (source.terminal, source.timeout)]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_segments_of_a_long_episode_have_every_length_from_5_to_499():
    source = make_source([50_000])
    rows, _ = mix(source, source, MixRecipe(ratio=0.99, size=2_000_000, kind="segments"))
    lengths = {len(piece) for piece in pieces_of(rows, 1) if piece[-1] < 49_999}
    assert lengths == set(range(5, 500))


def test_segments_start_anywhere_in_an_episode():
    source = make_source([100])
    rows, _ = mix(source, source, MixRecipe(ratio=0.5, size=100_000, kind="segments"))
    starts = np.bincount([piece[0] for piece in pieces_of(rows, 1)], minlength=100)
    assert len(starts) == 100
    assert starts.min() > 0
    assert starts.max() < 3 * starts.mean()


@pytest.mark.parametrize("kind", ["trajectories", "segments"])
def test_without_replacement_no_episode_comes_twice(kind):
    good, bad = make_source([10] * 20), make_source([10] * 30, sign=-1)
    recipe = MixRecipe(ratio=0.4, size=120, replacement=False, kind=kind)
    rows, _ = mix(good, bad, recipe)
    for label in (1, 0):
        episodes = [piece[0] // 10 for piece in pieces_of(rows, label)]
        assert len(set(episodes)) == len(episodes)
    repeated = mix(good, bad, dataclasses.replace(recipe, replacement=True, size=1000))[0]
    episodes = [piece[0] // 10 for piece in pieces_of(repeated, 1)]
    assert len(set(episodes)) < len(episodes)


def test_without_replacement_every_episode_can_be_drawn_and_then_no_more():
    good, bad = make_source([10] * 5), make_source([10] * 5, sign=-1)
    rows, _ = mix(good, bad, MixRecipe(ratio=0.5, size=100, replacement=False))
    assert sorted(rows.observation[rows.source == 1, 0]) == list(range(1, 51))
    for recipe, name in [
        (MixRecipe(ratio=0.52, size=100, replacement=False), "52 rows of the good"),
        (MixRecipe(ratio=0.3, size=100, replacement=False), "70 rows of the bad"),
        (MixRecipe(ratio=0.5, size=100, replacement=False, overshoot=True), "50 rows of the good"),
    ]:
        with pytest.raises(
            DatasetError, match=f"expected {name} source, but all its 5 episodes hold 50"
        ) as caught:
            mix(good, bad, recipe)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["trajectories", "segments"])
def test_the_same_recipe_gives_the_same_bytes_and_another_seed_others(kind, tmp_path):
    good, bad = make_source([70, 90], ends="in turn"), make_source([80, 60, 5], sign=-1)
    recipe = MixRecipe(ratio=0.1, size=2000, kind=kind, seed=3)

    def written(name: str, recipe: MixRecipe) -> str:
        rows, made = mix(good, bad, recipe)
        write_hdf5(tmp_path / name, rows, made)
        return hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()

    first = written("first.hdf5", recipe)
    time.sleep(1.1)  # HDF5 would record the second of writing
    assert written("second.hdf5", recipe) == first
    assert written("third.hdf5", dataclasses.replace(recipe, seed=4)) != first
    digests = {load(tmp_path / f"{name}.hdf5").info.digest for name in ("first", "second", "third")}
    assert len(digests) == 2


def test_a_mixs_file_says_how_it_was_made(tmp_path):
    good, bad = make_source([70, 90]), make_source([80, 60, 5], sign=-1)
    recipe = MixRecipe(ratio=0.25, size=1000, seed=3, kind="segments", replacement=True, overshoot=True)
    rows, made = mix(good, bad, recipe)
    write_hdf5(tmp_path / "mix.hdf5", rows, made)
    found = load(tmp_path / "mix.hdf5").info.attributes
    assert found == made
    assert found["mix_seed"] == 3
    assert found["mix_kind"] == "segments"
    assert found["mix_good_rows"] + found["mix_bad_rows"] == len(rows)
    assert found["mix_good_digest"] != found["mix_bad_digest"]
    assert (
        mix(good, make_source([80, 60, 5], seed=1), recipe)[1]["mix_good_digest"] == made["mix_good_digest"]
    )


def test_a_mix_loads_as_the_transitions_of_its_episodes(tmp_path):
    good, bad = make_source([5, 3, 1], ends="in turn"), make_source([4, 6], sign=-1, ends="timeout")
    rows, made = mix(good, bad, MixRecipe(ratio=0.4, size=150))
    write_hdf5(tmp_path / "mix.hdf5", rows, made)
    found = load(tmp_path / "mix.hdf5")
    kept = [i for i in range(len(rows) - 1) if not rows.timeout[i]]
    np.testing.assert_array_equal(found.raw_index, kept)
    np.testing.assert_array_equal(found.source, rows.source[kept])
    np.testing.assert_array_equal(found.observation, rows.observation[kept])
    inside = ~found.terminal
    step = np.where(found.source == 1, 1, -1)[inside, None]
    np.testing.assert_array_equal(found.next_observation[inside], found.observation[inside] + step)
    reward = [source.reward.astype(np.float64) for source in (good, bad)]
    # The one-row episode of the good source ends in a timeout: it holds no transition.
    returns = [reward[0][:5].sum(), reward[0][5:8].sum(), reward[1][:4].sum(), reward[1][4:].sum()]
    np.testing.assert_allclose(np.unique(found.episodes.whole_return), sorted(returns), rtol=1e-12)


def test_a_written_mix_reads_back_as_the_same_rows(tmp_path):
    rows, made = mix(make_source([5, 3]), make_source([4], sign=-1), MixRecipe(ratio=0.4, size=50))
    rows = dataclasses.replace(rows, env="Hopper-v4")
    write_hdf5(tmp_path / "mix.hdf5", rows, {**made, "env": rows.env})
    found = read_hdf5(tmp_path / "mix.hdf5")
    assert found.env == "Hopper-v4"
    for name in ("observation", "action", "reward", "terminal", "timeout", "source"):
        np.testing.assert_array_equal(getattr(found, name), getattr(rows, name))
    assert found.next_observation is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["mix.hdf5"], "no temporary file stays"


def test_good_and_bad_the_wrong_way_round_are_pointed_out(tmp_path, capsys):
    for name, reward in (("high", 2.0), ("low", 1.0)):
        rows = make_source([5] * 20)
        same = dataclasses.replace(rows, reward=np.full(100, reward, np.float32))
        write_hdf5(tmp_path / f"{name}.hdf5", same, {})
    for good, bad, said in (
        ("high", "low", ""),
        ("low", "high", "return 5 on average, those of the bad one 10."),
    ):
        names = ["--good", str(tmp_path / f"{good}.hdf5"), "--bad", str(tmp_path / f"{bad}.hdf5")]
        command = ["mix", *names, "--ratio", "0.5", "--size", "80", "--out", str(tmp_path / "mix.hdf5")]
        assert main(command) == 0
        note = capsys.readouterr().err
        assert said in note
        assert bool(note) == bool(said)


def test_a_mix_with_few_good_episodes_says_so(tmp_path, capsys):
    write_hdf5(tmp_path / "s.hdf5", make_source([5] * 20), {})
    names = ["--good", str(tmp_path / "s.hdf5"), "--bad", str(tmp_path / "s.hdf5")]
    out = str(tmp_path / "mix.hdf5")
    for size, said in (("25", "note: 1 good episode: results on so few may be chance"), ("125", "")):
        assert main(["mix", *names, "--ratio", "0.2", "--size", size, "--out", out]) == 0
        note = capsys.readouterr().err
        assert said in note
        assert ("few" in note) == bool(said)


def test_a_mix_that_cannot_be_written_is_one_line(tmp_path):
    rows, made = mix(make_source([5, 3]), make_source([4]), MixRecipe(ratio=0.4, size=50))
    with pytest.raises(DatasetError, match="cannot write") as caught:
        write_hdf5(tmp_path / "absent" / "mix.hdf5", rows, made)
    assert "\n" not in str(caught.value)


def test_a_mix_whose_writing_fails_leaves_the_file_that_was_there(tmp_path):
    rows, made = mix(make_source([5, 3]), make_source([4]), MixRecipe(ratio=0.4, size=50))
    write_hdf5(tmp_path / "mix.hdf5", rows, made)
    before = (tmp_path / "mix.hdf5").read_bytes()
    with pytest.raises(TypeError):
        write_hdf5(tmp_path / "mix.hdf5", rows, {"unwritable": object()})
    assert (tmp_path / "mix.hdf5").read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["mix.hdf5"]


@pytest.mark.parametrize("name", ["observation", "action"])
def test_sources_of_different_widths_are_refused(name):
    good, bad = make_source([5]), make_source([5])
    wide = dataclasses.replace(bad, **{name: np.zeros((5, 7), np.float32)})
    width = getattr(good, name).shape[1]
    with pytest.raises(
        DatasetError, match=f"equal {name} width, but the good one has {width} and the bad one 7"
    ):
        mix(good, wide, MixRecipe(ratio=0.5, size=10))


def bounded(rows: Rows, high: float, reference=None) -> Rows:
    bounds = (np.full(2, -high, np.float32), np.full(2, high, np.float32))
    return dataclasses.replace(rows, bounds=bounds, reference=reference)


def test_a_mix_keeps_the_bounds_and_the_references_that_its_sources_say(tmp_path):
    good, bad = (bounded(make_source([5, 3], seed=s), 2.0, (0.0, 40.0)) for s in (1, 2))
    rows, made = mix(good, bad, MixRecipe(ratio=0.4, size=50))
    write_hdf5(tmp_path / "mix.hdf5", rows, made)
    found = load(tmp_path / "mix.hdf5")
    assert found.info.action_high.tolist() == [2.0, 2.0]
    assert found.info.reference == (0.0, 40.0)
    assert not any("reweigh" in name for name in found.info.attributes)
    np.testing.assert_allclose(found.action, rows.action[found.raw_index] / 2, rtol=1e-6)
    other = dataclasses.replace(bad, reference=(0.0, 50.0))
    assert mix(good, other, MixRecipe(ratio=0.4, size=50))[0].reference is None


@pytest.mark.parametrize("high", [1.0, None])
def test_sources_of_other_action_bounds_are_refused(high):
    bad = make_source([5]) if high is None else bounded(make_source([5]), high)
    with pytest.raises(DatasetError, match=r"the same action bounds, but the good one says .*2\.0.* bad"):
        mix(bounded(make_source([5]), 2.0), bad, MixRecipe(ratio=0.5, size=10))


@pytest.mark.parametrize("damage", [{"reweigh_action_low": [0.0]}, {"reweigh_reference": [2.0, 1.0]}])
def test_bounds_that_do_not_fit_a_file_are_refused_in_one_line(damage, tmp_path):
    write_hdf5(tmp_path / "mix.hdf5", bounded(make_source([5, 3]), 2.0, (0.0, 40.0)), damage)
    with h5py.File(tmp_path / "mix.hdf5", "a") as file:
        for name, value in damage.items():
            file.attrs[name] = value
    with pytest.raises(DatasetError, match="Remove these attributes"):
        load(tmp_path / "mix.hdf5")


def test_a_source_without_timeouts_gets_them_from_the_limit():
    source = dataclasses.replace(make_source([25]), timeout=None)
    found = with_timeouts(source, 10)
    np.testing.assert_array_equal(np.flatnonzero(found.timeout), [9, 19])
    assert source.timeout is None
    assert with_timeouts(found, None) is found
    with pytest.raises(DatasetError, match="--max-episode-steps"):
        with_timeouts(source, None)


@pytest.mark.parametrize(
    "settings",
    [
        {"ratio": 0.0},
        {"ratio": 1.0},
        {"ratio": float("nan")},
        {"size": 1},
        {"seed": -1},
    ],
    ids=str,
)
def test_a_recipe_without_a_meaning_is_refused(settings):
    with pytest.raises(ConfigError, match=f"{next(iter(settings))} .*but found"):
        MixRecipe(**{"ratio": 0.5, "size": 100, **settings})
