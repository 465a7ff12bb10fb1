"""Density ratios over a whole dataset: measured while they are learned, and at the end written down."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from reweigh.priorities.file import WeightsFile, weights_of
from reweigh.priorities.scaling import ess_fraction
from reweigh.priorities.summary import auc, summarize
from reweigh.rebalance.density_ratio import Ratio, RatioSettings, clipped_logit
from reweigh.running.preparation import Prepared

# Rows that are looked at while training: enough for an AUC to the second digit, in a tenth of a second.
_MEASURED_ROWS = 20_000
_ROWS_AT_ONCE = 65_536


class RatioWeights:
    """The weights that learned networks give to every transition of a run's data."""

    def __init__(self, settings: RatioSettings, prepared: Prepared):
        self.prepared = prepared
        rows = np.arange(len(prepared.transitions))
        if prepared.probability is not None:
            rows = np.flatnonzero(prepared.probability > 0)
        even = np.linspace(0, len(rows) - 1, min(len(rows), _MEASURED_ROWS)).astype(np.int64)
        self.measured = rows[even]

        def logit(ratio: Ratio, observation: jax.Array, action: jax.Array) -> jax.Array:
            pair = ratio.state_action(jnp.concatenate([observation, action], axis=-1))[:, 0]
            return clipped_logit(pair, ratio.state(observation)[:, 0], settings)

        self.logit = jax.jit(logit)

    def measure(self, ratio: Ratio) -> dict[str, float]:
        """On an even sample of the rows that count: ESS/N of the weights, and the AUC if sources are known.

        Args:
            ratio: the networks.
        """
        rows = self.measured
        logit = self._logit(ratio, rows)
        probability = _softmax(logit + self._underneath(rows))
        found = {"ratio/data_ess": ess_fraction(probability)}
        source = self.prepared.transitions.source[rows]
        if (source == 1).any() and (source == 0).any():
            found["ratio/auc"] = auc(logit, source)
        return found

    def weights_file(self, ratio: Ratio, meta: dict[str, Any]) -> WeightsFile:
        r"""Weights of every transition, those underneath included.

        .. math:: p_i ∝ p^{base}_i \exp(l(s_i, a_i) / T)

        computed in logarithms.

        Args:
            ratio: the networks.
            meta: what else to remember.
        """
        transitions = self.prepared.transitions
        rows = np.arange(len(transitions))
        probability = _softmax(self._logit(ratio, rows) + self._underneath(rows))
        summary = summarize(probability, transitions)
        meta = {"method": "density-ratio", "summary": summary, "notes": [], **meta}
        return weights_of(probability, transitions, meta)

    def _logit(self, ratio: Ratio, rows: np.ndarray) -> Float64[np.ndarray, " n"]:
        data, found = self.prepared.data, []
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE]
            # One shape, and so one program, for every call.
            index = jnp.asarray(np.pad(part, (0, min(len(rows), _ROWS_AT_ONCE) - len(part)), mode="edge"))
            logit = self.logit(ratio, data.observation[index], data.action[index])
            found.append(np.asarray(logit, np.float64)[: len(part)])
        return np.concatenate(found)

    def _underneath(self, rows: np.ndarray) -> Float64[np.ndarray, " n"]:
        if self.prepared.probability is None:
            return np.zeros(len(rows))
        with np.errstate(divide="ignore"):
            return np.log(self.prepared.probability[rows])


def _softmax(logit: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    exponential = np.exp(logit - logit.max())
    return exponential / exponential.sum()
