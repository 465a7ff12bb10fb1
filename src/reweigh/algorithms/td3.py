"""TD3: TD3+BC without its data, for training online (Fujimoto et al., arXiv 1802.09477)."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from reweigh.algorithms.td3_bc import TD3BCConfig, TD3BCState, make_td3_bc, with_new_actor
from reweigh.checks import check_range, check_widths, require
from reweigh.losses import weighted_mean
from reweigh.networks import MLP
from reweigh.optim import step
from reweigh.types import Algorithm, Metrics, Minibatch


@dataclass(frozen=True)
class TD3Config:
    """Settings of TD3, as in the authors' current code (the paper's networks and rates differ)."""

    policy_noise: float = 0.2
    """Standard deviation of the noise on target actions."""
    noise_clip: float = 0.5
    """Largest magnitude of that noise."""
    target_rate: float = 0.005
    """`τ` of the target networks, in (0, 1]."""
    learning_rate: float = 3e-4
    """Adam's, for actor and critics."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers."""

    name: ClassVar[str] = "td3"

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        check_range(self, "of at least 0", "policy_noise")
        require(self.noise_clip >= 0, "noise_clip", "of at least 0", self.noise_clip)
        check_range(self, "in (0, 1]", "target_rate")
        check_range(self, "above 0", "learning_rate")
        check_widths(self.hidden)


def make_td3(config: TD3Config) -> Algorithm:
    r"""TD3 as pure functions; the actor and the targets change at every second update.

    Critics, targets and their networks are TD3+BC's; the actor maximizes value alone:

    .. math:: L(π) = -\frac{1}{B} \sum_i w_i Q_1(s_i, π(s_i))

    Args:
        config: its settings.
    """
    parent = make_td3_bc(
        TD3BCConfig(
            policy_noise=config.policy_noise,
            noise_clip=config.noise_clip,
            target_rate=config.target_rate,
            learning_rate=config.learning_rate,
            hidden=config.hidden,
        ),
    )
    critic_update = parent.updates[0]
    optimizer = optax.adam(config.learning_rate)

    def critic_and_actor_update(
        state: TD3BCState, minibatch: Minibatch, noise: Float[Array, "B A"]
    ) -> tuple[TD3BCState, Metrics]:
        state, metrics = critic_update(state, minibatch, noise)
        batch, weight = minibatch.policy_batch, minibatch.weight.improvement

        def objective(actor: MLP) -> Float[Array, ""]:
            q, _ = state.critic.model(batch.observation, jnp.tanh(actor(batch.observation)))
            return -weighted_mean(weight, q)

        loss, gradient = jax.value_and_grad(objective)(state.actor.model)
        actor = step(optimizer, state.actor, gradient)
        return with_new_actor(state, actor, config.target_rate), metrics | {"actor/loss": loss}

    return Algorithm(
        parent.init, parent.noise, (critic_update, critic_and_actor_update), parent.act, parent.actor
    )
