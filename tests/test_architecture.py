"""The layout shows the flow of data: imports go one way."""

import ast
import graphlib
from pathlib import Path

import pytest

import reweigh

ROOT = Path(reweigh.__file__).parent

# Each module may import those before it (and its own package), never those after.
ORDER = [
    "errors", "checks", "terms", "system", "transitions", "datasets", "types", "networks", "losses",
    "optim", "sampling", "rebalance", "algorithms", "training", "priorities", "config", "policy",
    "contract", "environments", "evaluation", "loading", "collection", "seed_folder", "runs", "statistics",
    "sweeps", "running", "verification", "experiment", "family", "studies", "report", "doctor", "options",
    "commands", "flags", "cli", "__main__",
]  # fmt: skip
WITHOUT_JAX = {"errors", "checks", "terms", "system", "transitions", "datasets", "priorities", "policy",
               "environments", "evaluation", "loading", "collection", "seed_folder", "runs", "statistics",
               "flags", "cli"}  # fmt: skip

MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    return ".".join(("reweigh", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


NAMES = {name_of(path): path for path in MODULES}


def imported(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Modules that a file imports: `from a import b` is `a.b` where that is a module, else `a`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (inner & NAMES.keys()) or {node.module}
    return names


def needed_at_import(path: Path) -> set[str]:
    """Everything that importing a file imports, and what that imports in turn."""
    found: set[str] = set()
    waiting = [path]
    while waiting:
        new = imported(waiting.pop(), top_level_only=True) - found
        found |= new
        waiting += [NAMES[name] for name in new & NAMES.keys()]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    own = part_of(path)
    assert own in ORDER, f"{own} has no place in the order"
    for name in imported(path):
        if name.startswith("reweigh."):
            other = name.split(".")[1]
            assert ORDER.index(other) <= ORDER.index(own), f"{own} imports {name}, which comes after it"


def test_the_map_of_the_code_names_every_part_and_no_other():
    page = (ROOT.parent.parent / "docs" / "code.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = {name.removesuffix("/") for row in rows for name in row.split("`")[1::2]}
    assert named == set(ORDER) - {"__main__"}


def test_no_module_needs_itself():
    needs = {name_of(path): imported(path) & NAMES.keys() for path in MODULES}
    graph = graphlib.TopologicalSorter({name: others - {name} for name, others in needs.items()})
    graph.prepare()  # raises graphlib.CycleError, which names the modules


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_evaluation_knows_environments_and_only_datasets_file_formats(path):
    roots = {name.split(".")[0] for name in imported(path)}
    if part_of(path) not in ("environments", "evaluation", "collection"):
        assert "gymnasium" not in roots
    if part_of(path) != "datasets":
        assert "h5py" not in roots


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if part_of(path) in WITHOUT_JAX and path.name != "by_advantage.py"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_weighing_mixing_and_acting_need_no_jax(path):
    roots = {name.split(".")[0] for name in needed_at_import(path)}
    assert not roots & {"jax", "equinox", "optax"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_command_line_prints(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    prints = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert part_of(path) in ("cli", "commands") or not prints


def test_done_is_not_a_word_for_an_episodes_end():
    for path in MODULES:
        names = set()
        for node in ast.walk(ast.parse(path.read_text())):
            names |= {getattr(node, field, None) for field in ("id", "arg", "attr")}
        assert not names & {"done", "dones", "not_done", "dones_float"}, path
