import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
os.environ.setdefault("JAX_DEBUG_KEY_REUSE", "true")
# Tests compile many small programs: compiling them fast is worth more than running them fast.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
# Tests, and the processes that they start, compile the same programs again and again.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", os.path.abspath(f"{__file__}/../../.pytest_cache/programs")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("default", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.load_profile("default")

SHARED = Path(os.environ.get("REWEIGH_TEST_DATA", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real datasets, which are too large to ship; tests that need them skip without."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"real datasets not found in {folder}; set REWEIGH_TEST_DATA to their parent folder")
    return folder
