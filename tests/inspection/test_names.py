"""Former names remain importable."""

from crossdistill import inspection
from crossdistill.paired import PairedTokenization
from crossdistill.reading import Reading


def test_former_names() -> None:
    assert inspection.Side is inspection.ModelInfo
    assert inspection.promised_coverage is inspection.expected_coverage
    assert Reading is PairedTokenization
