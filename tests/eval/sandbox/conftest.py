"""A sandbox to test, if this machine has one."""

import pytest

from crossdistill.errors import InputError
from crossdistill.eval.sandbox.bubblewrap import Bubblewrap


@pytest.fixture(scope="session")
def bubblewrap() -> Bubblewrap:
    sandbox = Bubblewrap()
    try:
        sandbox.check()
    except InputError as error:
        pytest.skip(str(error))
    return sandbox
