"""The papers' equations, one per function, elementwise; the objective weighs and averages once."""

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Float


def weighted_mean(weight: Float[Array, " B"], loss: Float[Array, " B"]) -> Float[Array, ""]:
    r"""The form of every objective.

    .. math:: \frac{1}{B} \sum_i w_i l_i

    Args:
        weight: `w`, mean 1 over the data, not over the batch; 0 ignores a transition.
        loss: `l`.
    """
    return jnp.mean(weight * loss)


def squared_error(prediction: Float[Array, " B"], target: Float[Array, " B"]) -> Float[Array, " B"]:
    """`(prediction - target)^2`, without a factor of one half.

    Args:
        prediction: `Q(s, a)` or `V(s)`.
        target: what it should be; the caller stops its gradient.
    """
    return (prediction - target) ** 2


def twin_squared_error(
    q1: Float[Array, " B"], q2: Float[Array, " B"], target: Float[Array, " B"]
) -> Float[Array, " B"]:
    """`Σ_k (Q_k(s, a) - y)^2` of twin critics (Equation 6 of IQL, arXiv 2110.06169, has one critic).

    Args:
        q1: `Q_1(s, a)`.
        q2: `Q_2(s, a)`.
        target: `y`; the caller stops its gradient.
    """
    return squared_error(q1, target) + squared_error(q2, target)


def td_target(
    reward: Float[Array, " B"], discount: Float[Array, " B"], next_value: Float[Array, " B"]
) -> Float[Array, " B"]:
    """One-step (or, with a rewritten reward and discount, k-step) target.

    .. math:: y = r + γ (1 - d) V(s')

    Args:
        reward: `r`.
        discount: `γ (1 - d)`: 0 at a terminal, where `next_value` is arbitrary.
        next_value: `V(s')`.
    """
    # A terminal's next state may be anything, even one of infinite value: 0 * inf would be NaN.
    return reward + jnp.where(discount > 0, discount * next_value, 0.0)


def expectile_loss(difference: Float[Array, " B"], *, expectile: float) -> Float[Array, " B"]:
    """Asymmetric squared error, whose minimizer over constants is an expectile.

    .. math:: L_2^τ(u) = |τ - 1(u < 0)| u^2

    Section 4.1 of Kostrikov et al. (arXiv 2110.06169), where `u = Q(s, a) - V(s)`.

    Args:
        difference: `u`, target minus prediction: positive where the prediction is too low.
        expectile: `τ`, strictly between 0 and 1. At 0.5 the loss is half the squared error; towards 1 only
            predictions that are too low count.
    """
    return jnp.where(difference > 0, expectile, 1 - expectile) * difference**2


def exponential_advantage(
    advantage: Float[Array, " B"], *, inverse_temperature: float, limit: float
) -> Float[Array, " B"]:
    r"""How strongly advantage-weighted regression imitates an action.

    .. math:: \min(e^{β A}, c)

    Equation 7 of Kostrikov et al. (arXiv 2110.06169); the cap is in their code.

    Args:
        advantage: `A`.
        inverse_temperature: `β >= 0`. 0 imitates every action equally.
        limit: `c > 0`, the largest weight of one transition.
    """
    return jnp.minimum(jnp.exp(inverse_temperature * advantage), limit)


def tanh_normal_log_likelihood(
    raw: Float[Array, "*B A"], noise: Float[Array, "*B A"], log_std: Float[Array, "*B A"]
) -> Float[Array, "*B"]:
    r"""Log density of `tanh(x)` for a diagonal normal `x`, summed over action dimensions.

    Appendix C of Haarnoja et al. (arXiv 1801.01290), in a form that does not overflow:

    .. math:: \sum_d \log N(z_d) - \log σ_d - 2 (\log 2 - x_d - \mathrm{softplus}(-2 x_d))

    Args:
        raw: `x = m + σ z`, before the `tanh`.
        noise: `z`, standard normal.
        log_std: `log σ`.
    """
    squash = 2 * (jnp.log(2.0) - raw - jax.nn.softplus(-2 * raw))
    return (norm.logpdf(noise) - log_std - squash).sum(axis=-1)


def gaussian_log_likelihood(
    action: Float[Array, "*B A"], mean: Float[Array, "*B A"], log_std: Float[Array, "*B A"]
) -> Float[Array, "*B"]:
    r"""Log density of a diagonal normal, summed over action dimensions.

    .. math:: -\sum_d \tfrac{1}{2} ((a_d - m_d) / σ_d)^2 + \log σ_d + \tfrac{1}{2} \log 2π

    Args:
        action: `a`.
        mean: `m`.
        log_std: `log σ` of each dimension.
    """
    return norm.logpdf(action, mean, jnp.exp(log_std)).sum(axis=-1)
