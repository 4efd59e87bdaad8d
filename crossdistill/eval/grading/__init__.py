"""Whether a response is right."""

from crossdistill.eval.grading.base import Grader
from crossdistill.eval.grading.verdict import Verdict

__all__ = ["Grader", "Verdict"]
