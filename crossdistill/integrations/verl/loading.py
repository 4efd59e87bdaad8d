"""Whether the plug-in has loaded: verl tells nobody, at its usual level of logging, if a plug-in fails to."""

import os
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from importlib.util import find_spec

from crossdistill.errors import InputError
from crossdistill.integrations.verl import NAME

GROUP = "verl.plugins"
POLICY = "VERL_USE_EXTERNAL_PLUGINS"


def check_plugin(names: Iterable[str] | None = None, load: Callable[[], object] | None = None) -> None:
    """Check that verl loads the plug-in in each of its processes.

    Args:
        names: of the plug-ins that are installed; those of this environment by default.
        load: imports the plug-in.

    Raises:
        InputError: it does not.
    """
    if names is None:
        names = [point.name for point in entry_points(group=GROUP)]
    if NAME not in names:
        raise InputError(
            f"verl finds no plug-in {NAME!r} in this environment: pip install 'crossdistill[verl]' there; a folder on "
            "PYTHONPATH is not enough."
        )
    policy = os.environ.get(POLICY, "auto").strip().lower()
    if policy != "auto" and NAME not in [name.strip() for name in policy.split(",")]:
        raise InputError(f"{POLICY}={policy} keeps verl from loading the plug-in: unset it, or add {NAME} to it.")
    try:
        (load or _load)()
    except ImportError as error:
        raise InputError(f"the plug-in does not load in this environment ({error}): install verl 0.9.") from error


def loop_names() -> tuple[str, ...]:
    """Names of verl's registered agent loops that score; a subclass of your own may be among them.

    Raises:
        InputError: the plug-in did not load.
    """
    check_plugin()
    from hydra.utils import get_class
    from verl.experimental.agent_loop.agent_loop import _agent_loop_registry

    from crossdistill.integrations.verl.plugin import Distilling

    return tuple(
        name for name, entry in _agent_loop_registry.items() if issubclass(get_class(entry["_target_"]), Distilling)
    )


def _load() -> None:
    if find_spec("verl") is None:
        raise ImportError("verl is not installed")
    import verl  # noqa: F401 I001 - first: it loads other plug-ins, which may build on this one
    import crossdistill.integrations.verl.plugin  # noqa: F401
