"""Files of settings, some of whose tables are those of a library: TRL, transformers or peft."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from crossdistill.keys.hint import hint
from crossdistill.keys.table import Table


class File(BaseModel):
    """A file, or a table of one.

    The names of a library's settings are checked with everything else, by the library's source. Their values are
    checked if all else is right, because that takes the library itself, which is imported for seconds.
    """

    model_config = ConfigDict(extra="forbid")

    tables: ClassVar[Sequence[Table]] = ()
    """All tables of the file."""
    settings: ClassVar[Mapping[str, Table]] = {}
    """Field -> the table of a library's settings that it holds."""

    @field_validator("*")
    @classmethod
    def _known_settings(cls, value: Any, info: ValidationInfo) -> Any:
        table = cls.settings.get(str(info.field_name))
        if table is not None:
            check_names(value or {}, table, cls.tables)
        return value

    @model_validator(mode="after")
    def _values_of_settings(self) -> Self:
        for name, table in self.settings.items():
            given = getattr(self, name)
            if given:
                setattr(self, name, converted(given, table))
        return self


def check_names(given: Mapping[str, Any], table: Table, tables: Sequence[Table]) -> None:
    """Check the names of a library's settings, by its source.

    Args:
        given: the settings.
        table: that they are in.
        tables: of the file, for a hint at what was meant.

    Raises:
        ValueError: one is unknown.
    """
    known = table.names if given else []
    for name in given:
        if name not in {*known, *table.refused}:
            raise ValueError(f"[{table.path}] has no key {name!r}; {hint(name, known, table.path, tables)}")


def converted(given: Mapping[str, Any], table: Table) -> dict[str, Any]:
    """The values of a library's settings, each converted to the type of its field.

    Args:
        given: the settings, whose names are known.
        table: that they are in.

    Raises:
        ValueError: a value is of another type.
    """
    types, values = get_type_hints(table.load()) if given else {}, {}
    for name, value in given.items():
        try:
            values[name] = TypeAdapter(types[name]).validate_python(value)
        except ValidationError as error:
            raise ValueError(f"[{table.path}] {name}: {error.errors()[0]['msg'].lower()}, got {value!r}") from None
    return values
