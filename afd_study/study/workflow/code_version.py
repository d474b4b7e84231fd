"""The version of a step's code, read from the sources: no step outlives a change of what it runs.

A step's function is named "module:function". Its version covers the function, what it calls in its own
module, and every module of the package that these reach by import. Docstrings, comments and layout do not
count.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = "afd_study"
ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "scipy", "peft", "accelerate")


@cache
def code_version(function: str) -> str:
    """Return 16 hex digits for the code that `function` ("module:name") reaches inside the package."""
    module, name = function.split(":")
    tree, imported = _tree(module), dict(_imports(_tree(module)))
    local = {node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    assigned = {
        target.id: node
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    parts, modules, todo, seen = [], set(), [name], set()
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        if current in imported:
            modules.add(imported[current])
        node = local.get(current) or assigned.get(current)
        if node is not None:
            parts.append((current, _dump(node)))
            todo += sorted({leaf.id for leaf in ast.walk(node) if isinstance(leaf, ast.Name)})
    text = [*map(str, sorted(parts)), *(f"{item}:{_module_hash(item)}" for item in sorted(_closure(modules)))]
    text += [hashlib.blake2b(data, digest_size=8).hexdigest() for data in _data_beside(module)]
    return hashlib.blake2b("\n".join(text).encode(), digest_size=8).hexdigest()


@cache
def library_versions() -> dict[str, str]:
    """Return the versions of the libraries whose change may move a number."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _closure(modules: set[str]) -> set[str]:
    """Return the modules of the package that `modules` import, directly or not, with themselves."""
    reached: set[str] = set()
    todo = list(modules)
    while todo:
        module = todo.pop()
        if module not in reached:
            reached.add(module)
            todo += [target for _, target in _imports(_tree(module))]
    return reached


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield (name, module) for everything imported from the package, wherever in the file it is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield alias.asname or alias.name, inner if _path(inner) else str(node.module)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith(PACKAGE):
                    yield alias.asname or alias.name, alias.name


def _path(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split(".")[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _tree(module: str) -> ast.Module:
    path = _path(module)
    if path is None:
        raise ModuleNotFoundError(f"{module} is not a module of {PACKAGE}")
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _module_hash(module: str) -> str:
    """Hash a module's code, and the data files that lie beside it under the same name (a world's script)."""
    digest = hashlib.blake2b(_dump(_tree(module)).encode(), digest_size=8)
    for data in _data_beside(module):
        digest.update(data)
    return digest.hexdigest()


def _data_beside(module: str) -> list[bytes]:
    path = _path(module)
    assert path is not None  # only modules that there are have a version
    beside = sorted(path.parent.glob(f"{path.stem}.*"))
    return [data.read_bytes() for data in beside if data.suffix in (".yaml", ".json")]


def _dump(tree: ast.AST) -> str:
    """Return the code without docstrings, positions and comments."""
    bare = ast.parse(ast.unparse(tree))
    for node in ast.walk(bare):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]  # it has a body
    return ast.dump(bare)
