"""Session fixtures: the in-process tokenizers and their byte vocabularies, by name; the tiny pair of models."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from huggingface_hub.utils import _http
from hypothesis import HealthCheck, settings
from transformers import PreTrainedTokenizerFast

from crossdistill import ByteVocab
from crossdistill.extras import missing
from tests.models import Pair, save_pair
from tests.tokenizers_in_process import NAMES, build

ABOVE_THE_CORE = {
    "train": [
        "architectures",
        "benchmarks/gpu",
        "benchmarks/test_check.py",
        "benchmarks/test_prepare_real.py",
        "arena",
        "engines",
        "arena",
        "harness",
        "chat/test_roles.py",
        "report/arena",
        "server",
        "train",
        "runs",
        "demo",
        "cli/test_coverage.py",
        "cli/test_doctor_run.py",
        "cli/test_eval.py",
        "cli/test_full_disk.py",
        "eval/generation/test_decoding.py",
        "cli/test_init.py",
        "cli/test_refusals.py",
        "cli/test_report.py",
        "cli/test_saying.py",
        "cli/test_shown.py",
        "cli/test_served.py",
        "distill/test_own_loop.py",
        "documentation",
        "inspection/test_memory.py",
        "integrations",
        "objectives/test_trl.py",
        "ops/test_contiguous.py",
        "objectives/test_trl_differs.py",
        "recipes",
        "test_documentation.py",
        "tools/test_finding_tables.py",
        "tools/test_key_tables.py",
        "verl",
    ],
    "served": [
        "integrations/async_trl/test_folder_weights.py",
        "integrations/async_trl/test_page.py",
        "integrations/async_trl/test_served_sampler.py",
        "teachers/served",
        "teacher_server",
        "server",
        "verl",
        "cli/test_doctor_teacher.py",
        "eval/generation/test_served.py",
    ],
    "eval": [
        "arena",
        "cli/test_compare.py",
        "cli/test_eval.py",
        "cli/test_report.py",
        "documentation",
        "eval/comparison",
        "eval/grading",
        "eval/sandbox",
        "eval/tasks",
        "eval/test_cost_fit.py",
        "eval/test_scores.py",
        "report/arena",
        "report/comparison",
        "recipes",
        "report/cost",
        "runs/test_eval_parameters.py",
        "runs/test_evaluate.py",
        "runs/test_spending.py",
    ],
    "report": [
        "documentation",
        "cli/test_report.py",
        "recipes",
        "report/arena",
        "report/comparison",
        "report/test_charts.py",
        "report/test_curves.py",
        "report/test_html.py",
    ],
}
"""Extra -> tests that need it. Without it they are not collected, and all others must pass (`make test-core`)."""
collect_ignore = [path for extra, paths in ABOVE_THE_CORE.items() if missing(extra) for path in paths]

for profile, max_examples in {"fast": 25, "full": 100, "thorough": 5000}.items():
    settings.register_profile(
        profile,
        deadline=None,
        max_examples=max_examples,
        suppress_health_check=[HealthCheck.too_slow],
        derandomize="CI" in os.environ,
        print_blob=True,
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture(scope="session", autouse=True)
def hub_is_not_waited_for() -> Iterator[None]:
    """Tests reach no hub: what is asked of it fails, and is not asked for again after half a minute of pauses."""
    with patch.object(_http, "time", SimpleNamespace(sleep=lambda seconds: None)):
        yield


@pytest.fixture(scope="session")
def tokenizers() -> dict[str, PreTrainedTokenizerFast]:
    return {name: build(name) for name in NAMES}


@pytest.fixture(scope="session")
def vocabs(tokenizers: dict[str, PreTrainedTokenizerFast]) -> dict[str, ByteVocab]:
    return {name: ByteVocab.from_tokenizer(tokenizer) for name, tokenizer in tokenizers.items()}


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return save_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """As from a terminal: tests that were begun in the background, and their processes, are deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
