"""One stage of training: a compiled loop of draw -> learn -> update.

Update `t` uses `fold_in(key, t)`, so a run resumed at `t` continues exactly. The loop's length is an
argument of the compiled program, so splitting a run into calls does not change its arithmetic.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray

from reweigh.types import Batch, Metrics, Minibatch, Shapes, Stage, State, Tables, TrainState


class MetricSums(eqx.Module):
    """Sums of metrics since the last record, and the number of periods summed."""

    total: Metrics
    periods: Float[Array, "..."]


@dataclass(frozen=True)
class Trainer:
    """A stage compiled for one dataset's shapes; if vmapped, keys, states and sums have a seed axis."""

    period: int
    """Updates that form a unit; calls run whole periods."""
    init: Callable[[Key[Array, "..."]], TrainState]
    """key -> first state. The key is consumed."""
    zero_metrics: Callable[[], MetricSums]
    """Nothing recorded yet."""
    _run: Callable[..., tuple[TrainState, MetricSums]]

    def run(
        self,
        key: Key[Array, "..."],
        state: TrainState,
        sums: MetricSums,
        tables: Tables,
        data: Batch,
        *,
        start: int,
        count: int,
    ) -> tuple[TrainState, MetricSums]:
        """Run updates `start ... start + count - 1` (from 0) and wait for them.

        Args:
            key: the run's, the same in every call; one per seed if vmapped.
            state: after `start` updates.
            sums: metrics so far.
            tables: of the rebalancing method.
            data: the whole dataset, on the device.
            start: updates done so far, a multiple of the period.
            count: updates to do, a multiple of the period.
        """
        state, sums = self._run(key, state, sums, tables, data, jnp.int32(start), jnp.int32(count))
        return jax.block_until_ready((state, sums))


def make_trainer(
    stage: Stage,
    shapes: Shapes,
    batch_size: int,
    tables: Tables,
    data: Batch,
    *,
    previous: State = None,
    num_seeds: int | None = None,
) -> Trainer:
    """Prepare a stage for a dataset; compilation happens at the first call.

    Args:
        stage: what to train.
        shapes: of the data.
        batch_size: `B`.
        tables: only their shapes matter.
        data: only its shapes matter.
        previous: last algorithm state of the previous stage.
        num_seeds: seeds side by side in one program; None: one seed without a seed axis.
    """
    updates = stage.algorithm.updates

    def period(
        key: PRNGKeyArray, state: TrainState, tables: Tables, data: Batch, first: Array
    ) -> tuple[TrainState, Metrics]:
        gathered: dict[str, list[Array]] = {}
        for offset, update in enumerate(updates):
            draw_key, noise_key = jax.random.split(jax.random.fold_in(key, first + offset))
            minibatch = stage.rebalance.draw(draw_key, tables, data, first + offset)
            learned, weight, metrics = stage.rebalance.learn(state.rebalance, tables, minibatch)
            minibatch = Minibatch(minibatch.evaluation, minibatch.policy, weight)
            noise = stage.algorithm.noise(noise_key, batch_size, shapes)
            algorithm, own_metrics = update(state.algorithm, minibatch, noise)
            state = TrainState(algorithm, learned)
            for name, value in (metrics | own_metrics).items():
                gathered.setdefault(name, []).append(value)
        return state, {name: jnp.stack(values).mean() for name, values in gathered.items()}

    def run(
        key: PRNGKeyArray,
        state: TrainState,
        sums: MetricSums,
        tables: Tables,
        data: Batch,
        start: Array,
        count: Array,
    ) -> tuple[TrainState, MetricSums]:
        def body(i: Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, total = carry
            state, metrics = period(key, state, tables, data, start + i * len(updates))
            return state, jax.tree.map(jnp.add, total, metrics)

        periods = count // len(updates)
        state, total = jax.lax.fori_loop(0, periods, body, (state, sums.total))
        return state, MetricSums(total, sums.periods + periods)

    def init(key: PRNGKeyArray, previous: State) -> TrainState:
        algorithm_key, rebalance_key = jax.random.split(key)
        if stage.start is not None:
            algorithm = stage.start(algorithm_key, previous)
        else:
            algorithm = stage.algorithm.init(algorithm_key, shapes)
        state = TrainState(algorithm, stage.rebalance.init(rebalance_key, shapes))
        # Updates return strong types; a weak one in the first state would recompile the loop at its second
        # call.
        return jax.tree.map(_strong, state)

    def zero_metrics() -> MetricSums:
        shape = () if num_seeds is None else (num_seeds,)
        return MetricSums({name: jnp.zeros(shape) for name in names}, jnp.zeros(shape))

    one_key = jax.eval_shape(lambda: jax.random.key(0))
    one_previous = previous
    if num_seeds is not None:
        one_previous = jax.tree.map(lambda leaf: leaf[0], previous)
        run_all = jax.vmap(run, in_axes=(0, 0, 0, None, None, None, None))
        init_all = jax.vmap(init)
    else:
        run_all, init_all = run, init
    first = jax.eval_shape(init, one_key, one_previous)
    update = jax.ShapeDtypeStruct((), jnp.int32)
    names = sorted(jax.eval_shape(period, one_key, first, tables, data, update)[1])
    compiled_init = jax.jit(init_all)
    return Trainer(len(updates), lambda key: compiled_init(key, previous), zero_metrics, jax.jit(run_all))


def _strong(leaf: Array) -> Array:
    leaf = jnp.asarray(leaf)
    return jax.lax.convert_element_type(leaf, leaf.dtype)


def run_keys(
    seeds: Sequence[int], *, vmapped: bool, stage: int = 0
) -> tuple[Key[Array, "..."], Key[Array, "..."]]:
    """The key that initializes a run and the key of its updates, each with a seed axis if vmapped.

    Args:
        seeds: of the runs; only the first counts without `vmapped`.
        vmapped: whether they are trained side by side in one program.
        stage: number from 1, so that a seed's stages draw differently; 0: the only stage.
    """

    def keys_of(seed: int | Array) -> tuple[PRNGKeyArray, PRNGKeyArray]:
        key = jax.random.key(seed)
        if stage:
            key = jax.random.fold_in(key, stage)
        init_key, update_key = jax.random.split(key)
        return init_key, update_key

    if not vmapped:
        return keys_of(seeds[0])
    return jax.vmap(keys_of)(jnp.asarray(seeds, jnp.uint32))
