"""Exact match on the demo's sums, as verl's reward function."""

from typing import Any

from crossdistill.demo.task import Problem, grade


def compute_score(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None) -> float:
    return float(grade(Problem("", ground_truth, ""), solution_str))
