"""The house stands: imports go down, never in circles, and the ground rooms stay simple."""

import ast
import graphlib
import pathlib
from collections.abc import Iterator

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parent.parent / "taggen_jax"

FLOORS = (  # from the ground to the top; rooms of one floor may import each other, though not in circles
    ("errors", "files", "config", "signals", "compilations"),
    ("catalog", "metrics"),
    ("data", "batch", "costs"),
    ("decode",),
    ("models",),
    ("parallel",),
    ("training",),
    ("interop",),
    ("runs", "reports"),
    ("experiment", "terminal"),
    (
        *("searches", "tagger", "closed", "prepared", "predictions"),
        *("calibrated", "subsets", "governed", "offers", "pretrained"),
    ),
    (
        *("prepare", "train", "evaluate", "generate", "calibrate", "convert", "demo"),
        *("crossval", "compare", "fuse", "report", "vocabulary", "audit", "pseudo", "plan", "rehearse"),
    ),
    ("main", "verbs"),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
OUTSIDE = ("tools", "tests", "configs", "launch")


def module_name(path: pathlib.Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = sorted(SOURCES.keys() - {"__init__"})


def imports(module: str) -> Iterator[str]:
    """The absolute names that `module` imports, the lazy imports inside functions included."""
    for node in ast.walk(ast.parse(SOURCES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{SOURCES[module]}:{node.lineno}: write the import in full, without dots"
            assert node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(module: str) -> set[str]:
    """The modules of this package that `module` imports: "data.stream", "errors"; a room by its name."""
    names = [name.removeprefix("taggen_jax.") for name in imports(module) if name.startswith("taggen_jax.")]
    return {name if name in SOURCES else name.rpartition(".")[0] for name in names} - {""}


def room(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str) -> None:
    assert room(module) in FLOOR, f"{SOURCES[module]} has no floor: give '{room(module)}' one in FLOORS"
    for imported in own_imports(module):
        assert FLOOR[room(imported)] <= FLOOR[room(module)], (
            f"{module} may not import {imported}: it lives no lower"
        )


def test_no_import_goes_in_a_circle() -> None:
    graph = {module: own_imports(module) - {module} for module in MODULES}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("module", MODULES)
def test_nothing_imports_what_stands_around_the_package(module: str) -> None:
    assert not [name for name in imports(module) if name.split(".")[0] in OUTSIDE]


@pytest.mark.parametrize("module", [module for module in MODULES if room(module) == "decode"])
def test_decode_knows_no_other_room(module: str) -> None:
    assert {room(imported) for imported in own_imports(module)} <= {"decode"}


@pytest.mark.parametrize("module", [module for module in MODULES if room(module) == "metrics"])
def test_metrics_are_numpy_only(module: str) -> None:
    outside = {name.split(".")[0] for name in imports(module)} & {"jax", "flax", "torch", "sklearn", "scipy"}
    assert not outside and {room(imported) for imported in own_imports(module)} <= {"metrics"}
