"""One key of a file."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """A key of a file, or of a table in it.

    Attributes:
        name: as it is written.
        type: of its values, as Python writes it.
        default: as Python writes it; None if the key must be given.
        meaning: in one or two sentences.
        owner: the package that declares it, such as "crossdistill" or "trl".
    """

    name: str
    type: str
    default: str | None
    meaning: str
    owner: str = "crossdistill"

    @property
    def is_ours(self) -> bool:
        """Whether it was declared here, and not by a library."""
        return self.owner == "crossdistill"

    def has(self, word: str) -> bool:
        """Whether a word is in its name or meaning, in any case."""
        return word.lower() in f"{self.name} {self.meaning}".lower()
