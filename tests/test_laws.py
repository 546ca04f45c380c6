"""Laws of the whole package: no setting and no dependency that nothing uses, and pins that agree."""

import ast
import importlib.metadata
import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
TREES = {
    path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "taggen_jax").rglob("*.py"))
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NEEDED_BY_OTHERS = {"importlib-resources", "flatbuffers"}  # by tensorflow-datasets and jax.export, undeclared


def without_checks(tree: ast.Module) -> ast.Module:
    """The tree without what its classes read only to refuse bad values, which is no use of them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            node.body = [part for part in node.body if getattr(part, "name", "") != "__post_init__"]
    return tree


def reads(tree: ast.Module) -> set[str]:
    """The attributes a file reads: `x.name`, or "name" where the file has getattr(x, variable) as well."""
    nodes = list(ast.walk(tree))
    names = {
        node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr"]
    if any(not isinstance(call.args[1], ast.Constant) for call in calls):
        names |= {str(node.value) for node in nodes if isinstance(node, ast.Constant)}
    return names


def test_every_config_field_is_read() -> None:
    trees = {path: without_checks(ast.parse(path.read_text(encoding="utf-8"))) for path in TREES}
    read = set().union(*map(reads, trees.values()))
    fields = [
        (f"{path.relative_to(ROOT)}:{field.lineno}: {cls.name}", field.target.id)
        for path, tree in trees.items()
        for cls in ast.walk(tree)
        if isinstance(cls, ast.ClassDef) and cls.name.endswith("Config") and cls.decorator_list
        for field in cls.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    ]
    assert len(fields) > 20, "found too few config fields: is the package still where this test looks?"
    unread = [f"{place}.{name}" for place, name in fields if name not in read]
    assert not unread, "nothing reads this field; read it or delete it: " + ", ".join(unread)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\s\[<>=!~;]", requirement)[0]) for requirement in requirements}


def imported_distributions() -> set[str]:
    """The packages that the code imports, lazily or not; one that is not installed counts by its name."""
    names = set()
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    providers = importlib.metadata.packages_distributions()
    third_party = names - set(sys.stdlib_module_names) - {"taggen_jax"}
    return {normal(provider) for name in third_party for provider in providers.get(name, [name])}


def test_every_import_is_declared() -> None:
    extras = PROJECT["optional-dependencies"]
    optional = [requirement for name in extras.keys() - {"test"} for requirement in extras[name]]
    allowed = declared(PROJECT["dependencies"]) | declared(optional)
    assert imported_distributions() <= allowed, (
        "declare these in pyproject.toml, or import them in tests only"
    )


def test_every_declared_dependency_is_used() -> None:
    assert declared(PROJECT["dependencies"]) <= imported_distributions() | NEEDED_BY_OTHERS


def pins(name: str) -> dict[str, str]:
    """name -> version of a lock file, whose lines are `name==version  # who needs it`, and nothing else."""
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    matches = [re.fullmatch(r"([a-z0-9-]+)==([0-9][0-9a-z.]*)", line) for line in lines if line]
    assert matches and all(matches), f"{name} has a line that is no plain pin: run `make lock`"
    return {match[1]: match[2] for match in matches if match}


def test_the_lock_files_agree_and_cover_what_is_declared() -> None:
    runtime, test = pins("requirements.lock"), pins("requirements-test.lock")
    assert runtime.items() <= test.items()
    assert declared(PROJECT["dependencies"]) <= runtime.keys()
    assert declared(PROJECT["optional-dependencies"]["test"]) <= test.keys()
