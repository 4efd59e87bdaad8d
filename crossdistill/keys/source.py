"""Python files as text: where a name is defined, and what is assigned to it, without running anything."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

Statement = ast.ClassDef | ast.Assign | ast.AnnAssign


class NotInSourceError(LookupError):
    """A name, or what is assigned to it, cannot be told without running the file."""


@dataclass(frozen=True)
class Source:
    """A module.

    Attributes:
        name: with its package, such as "trl.trainer.sft_config".
        definitions: name -> the statement at the module's top that defines it.
        imports: name -> the module that it is imported from, and its name there.
    """

    name: str
    definitions: dict[str, Statement]
    imports: dict[str, tuple[str, str]]

    @property
    def package(self) -> str:
        """The package that it belongs to, such as "trl"."""
        return self.name.partition(".")[0]


@cache
def source_of(module: str) -> Source:
    """The source of a module, whose packages are not imported.

    Raises:
        NotInSourceError: there is none.
    """
    path = _path_of(module)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    source = Source(module, {}, {})
    for statement in _at_the_top(ast.parse(path.read_bytes()).body):
        if isinstance(statement, ast.ImportFrom):
            home = _absolute(statement, package)
            source.imports.update({alias.asname or alias.name: (home, alias.name) for alias in statement.names})
        else:
            source.definitions.update(dict.fromkeys(_names_of(statement), statement))
    return source


def find(name: str, source: Source) -> tuple[Statement, Source]:
    """The statement that defines a name of a module, through all modules that it is imported from.

    Raises:
        NotInSourceError: it is defined in another way.
    """
    if name in source.definitions:
        return source.definitions[name], source
    if name not in source.imports:
        raise NotInSourceError(f"{source.name} does not define {name}")
    home, there = source.imports[name]
    return find(there, source_of(home))


def _path_of(module: str) -> Path:
    top, *below = module.split(".")
    spec = find_spec(top)  # which imports nothing
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder).joinpath(*below)
        for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
            if file.is_file():
                return file
    raise NotInSourceError(f"{module} has no source")


def _at_the_top(body: Iterable[ast.stmt]) -> Iterator[ast.ImportFrom | Statement]:
    """Statements that a module or class runs, those under a condition too (``if TYPE_CHECKING`` names lazy imports)."""
    for statement in body:
        if isinstance(statement, ast.ImportFrom | ast.ClassDef | ast.Assign | ast.AnnAssign):
            yield statement
        elif isinstance(statement, ast.If | ast.Try):
            yield from _at_the_top([*statement.body, *statement.orelse])


def _absolute(statement: ast.ImportFrom, package: str) -> str:
    """The module that a statement imports from."""
    if not statement.level:
        return statement.module or ""
    above = package.split(".")
    return ".".join(filter(None, [*above[: len(above) - statement.level + 1], statement.module]))


def _names_of(statement: Statement) -> list[str]:
    if isinstance(statement, ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def assigned(name: str, body: Iterable[ast.stmt]) -> list[ast.expr]:
    """All values that a module or class may assign to a name."""
    return [
        statement.value
        for statement in _at_the_top(body)
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value and name in _names_of(statement)
    ]
