"""Density ratios over a dataset: measured during training, and written to a file at the end."""

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

# Rows measured during training: enough for two digits of the AUC, in a tenth of a second.
_MEASURED_ROWS = 20_000
_ROWS_AT_ONCE = 65_536


class RatioWeights:
    """Weights that learned networks give a run's transitions."""

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
        """ESS/N of the weights on an even sample of rows that can be drawn; AUC if it has both sources.

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
        r"""Weights of every transition: base weight times ratio, normalized.

        .. math:: p_i ∝ p^{base}_i \exp(l(s_i, a_i) / T)

        computed in logarithms.

        Args:
            ratio: the networks.
            meta: further metadata.
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
            # The same shape in every call, so that it compiles once.
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
