"""Keys as the source of a dataclass or of a pydantic model declares them, without importing it.

transformers, TRL and peft take seconds to import; their source is read in a fraction of one, and is always that of the
installed version. :mod:`crossdistill.keys.imported` is the slow way to the same keys.
"""

import ast
import builtins
import re
from collections.abc import Iterator
from contextlib import suppress
from inspect import cleandoc

from crossdistill.keys.key import Key
from crossdistill.keys.source import NotInSourceError, Source, Statement, assigned, find, source_of

_MAKERS = ("field", "Field")
"""Functions of dataclasses and pydantic that declare a field."""
_EMPTY = {"list": "[]", "dict": "{}", "set": "set()", "tuple": "()"}


def keys_in_source(module: str, name: str) -> list[Key]:
    """The keys of a class, in the order of its arguments.

    Args:
        module: that defines or exports it.
        name: of the class.

    Raises:
        NotInSourceError: it cannot be read without running it.

    Example:
        >>> [key.name for key in keys_in_source("crossdistill.eval.sampling", "Sampling")][:3]
        ['k', 'temperature', 'top_p']
    """
    definition, source = find(name, source_of(module))
    if not isinstance(definition, ast.ClassDef):
        raise NotInSourceError(f"{module} has no class {name}")
    return [key for key in _keys(definition, source).values() if key is not None]


def _keys(definition: ast.ClassDef, source: Source) -> dict[str, Key | None]:
    """Name -> key, those of the bases first; None for a field that is no argument."""
    found: dict[str, Key | None] = {}
    for base in reversed(definition.bases):
        found |= _keys_of_base(base, source)
    described = _described(ast.get_docstring(definition) or "")
    for statement in definition.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            type_name = _type_name(statement.annotation, source)
            if not type_name.startswith(("ClassVar", "typing.ClassVar")):
                found[statement.target.id] = _Reader(definition, source).key(statement, type_name, described)
    return found


def _type_name(annotation: ast.expr, source: Source) -> str:
    """A type as it is written; of a name for ``Annotated[type, ...]``, that type."""
    if isinstance(annotation, ast.Name) and annotation.id in {*source.definitions, *source.imports}:
        with suppress(NotInSourceError):  # of a class that is written in another language
            definition, _ = find(annotation.id, source)
            value = None if isinstance(definition, ast.ClassDef) else definition.value
            if value is not None and ast.unparse(value).startswith("Annotated["):
                return ast.unparse(value.slice.elts[0])  # type: ignore[attr-defined]
    return ast.unparse(annotation)


def _keys_of_base(base: ast.expr, source: Source) -> dict[str, Key | None]:
    if not isinstance(base, ast.Name):
        raise NotInSourceError(f"{source.name}: a class has the base {ast.unparse(base)}")
    if hasattr(builtins, base.id) or source.imports.get(base.id) in (("pydantic", "BaseModel"), ("abc", "ABC")):
        return {}
    definition, home = find(base.id, source)
    if not isinstance(definition, ast.ClassDef):
        raise NotInSourceError(f"{home.name}: {base.id} is no class")
    return _keys(definition, home)


class _Reader:
    """Reads the fields of one class."""

    def __init__(self, definition: ast.ClassDef, source: Source) -> None:
        self._definition, self._source = definition, source

    def key(self, statement: ast.AnnAssign, type_name: str, described: dict[str, str]) -> Key | None:
        assert isinstance(statement.target, ast.Name)
        name, value = statement.target.id, statement.value
        options = self._options(value)
        if options is None:
            default, text = None if value is None else self._default(value), ""
        elif "init" in options and ast.unparse(options["init"]) == "False":
            return None
        else:
            default, text = self._declared_default(options), self._help(options)
        meaning = " ".join((text or described.get(name, "")).split())
        return Key(name, type_name, default, meaning, self._source.package)

    def _options(self, value: ast.expr | None) -> dict[str, ast.expr] | None:
        """The arguments of a call that declares a field; None for another value."""
        if isinstance(value, ast.Name) and value.id in self._source.definitions:
            value = getattr(self._source.definitions[value.id], "value", None)  # one declaration for several fields
        if not isinstance(value, ast.Call) or ast.unparse(value.func).rpartition(".")[2] not in _MAKERS:
            return None
        options = {keyword.arg: keyword.value for keyword in value.keywords if keyword.arg}
        return {"default": value.args[0], **options} if value.args else options

    def _declared_default(self, options: dict[str, ast.expr]) -> str | None:
        if "default" in options:
            return self._default(options["default"])
        factory = options.get("default_factory")
        if factory is None:
            return None
        made = ast.unparse(factory.body if isinstance(factory, ast.Lambda) else factory)
        return made if isinstance(factory, ast.Lambda) else _EMPTY.get(made, f"{made}()")

    def _default(self, value: ast.expr) -> str:
        """A value as it is written; of a name, what it may stand for."""
        in_class = assigned(value.id, self._definition.body) if isinstance(value, ast.Name) else []
        if in_class:
            return " or ".join(dict.fromkeys(map(self._default, in_class)))
        if not isinstance(value, ast.Name | ast.Attribute):
            return ast.unparse(value)
        definition, home = self._constant(value)
        if isinstance(definition, ast.ClassDef) or definition.value is None:
            raise NotInSourceError(f"{ast.unparse(value)} is no constant")
        return _Reader(self._definition, home)._default(definition.value)

    def _constant(self, value: ast.Name | ast.Attribute) -> tuple[Statement, Source]:
        """What defines a constant of this module (``SIZE``) or of one that it imports (``module.SIZE``)."""
        if isinstance(value, ast.Name):
            return find(value.id, self._source)
        module = self._source.imports.get(ast.unparse(value.value))
        if module is None:
            raise NotInSourceError(f"{ast.unparse(value)} is no constant")
        return find(value.attr, source_of(".".join(module)))

    def _help(self, options: dict[str, ast.expr]) -> str:
        """What the declaration says: ``description`` of pydantic, ``metadata["help"]`` of command lines."""
        if "description" in options:
            return _text(options["description"])
        metadata = options.get("metadata")
        if not isinstance(metadata, ast.Dict):
            return ""
        entries = zip(metadata.keys, metadata.values, strict=True)
        texts = [_text(value) for key, value in entries if key is not None and ast.unparse(key) == "'help'"]
        return "".join(texts).replace("%%", "%")  # as argparse wants it


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise NotInSourceError(f"{ast.unparse(node)} is no text")


def _described(docstring: str) -> dict[str, str]:
    """What the section "Attributes" of a docstring says: name -> meaning."""
    section = re.search(r"^Attributes:\n((?:[ ]+.*\n?|\n)+)", cleandoc(docstring), flags=re.MULTILINE)
    entries = re.split(r"^    (?=\S)", section[1] if section else "", flags=re.MULTILINE)[1:]
    return dict(_entries(entries))


def _entries(texts: list[str]) -> Iterator[tuple[str, str]]:
    for text in texts:
        names, _, meaning = text.partition(":")
        sentence = " ".join(meaning.split())
        yield from ((name.strip(), sentence) for name in names.split(","))
