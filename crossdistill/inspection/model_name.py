"""What kind of thing a model's name names."""

from typing import Any


def is_url(model: Any) -> bool:
    """Whether a teacher is named by the URL of its server.

    Example:
        >>> is_url("http://teacher:8000"), is_url("org/model")
        (True, False)
    """
    return isinstance(model, str) and model.lower().startswith(("http://", "https://"))
