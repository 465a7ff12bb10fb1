"""Environment variables for a later import of JAX, here and in child processes."""

import os
import platform
from pathlib import Path

from reweigh.system.cache import cache_folder
from reweigh.system.digests import json_digest

_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"
# Programs that compile faster are not worth a file.
_KEPT_ABOVE_S = "0.2"


def set_up_jax() -> None:
    """Use one thread on the CPU, and cache compiled programs for other processes.

    Every seed of a run is its own process with the same programs, and compiling them takes longer than a
    thousand updates. The user's own JAX settings are kept, except for the number of threads.
    """
    # XLA compiles for as many threads as it would start, by default one per core, and sums that are split
    # differently round differently: results would depend on the number of usable cores.
    os.environ["NPROC"] = "1"
    flags = os.environ.get("XLA_FLAGS", "")
    if _ONE_THREAD not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_ONE_THREAD}".strip()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        # The machines of a cluster may share the cache, but cannot run code compiled for another processor.
        folder = cache_folder() / "programs" / json_digest(_processor())[:20]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:  # each process then compiles for itself
            return
        if not os.access(folder, os.W_OK):
            return
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", _KEPT_ABOVE_S)


def _processor() -> list[str]:
    """The kind of processor, with its instruction sets if the system reports them."""
    found = [platform.machine(), platform.processor()]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return found
    kinds = {line for line in lines if line.partition("\t")[0] in ("model name", "flags", "Features")}
    return found + sorted(kinds)
