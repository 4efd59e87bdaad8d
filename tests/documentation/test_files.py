"""Run files that the documentation shows are valid, and what its Python imports is there."""

import ast
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from crossdistill.runs.config import RunConfig
from crossdistill.train import CrossTokenizerConfig
from tests.documentation.world import RUN
from tests.snippets import PAGES, ROOT, blocks

QUICKSTART = "docs/quickstart.md"
RUN_BY = {
    # page -> the test that runs its Python; that of other pages is run by test_walks.py
    "docs/asynchronous.md": "tests/integrations/async_trl/test_page.py",
    "docs/own-loop.md": "tests/distill/test_own_loop.py",
    "docs/own-teacher.md": "tests/train/test_foreign.py",
}
TABLES = [pytest.param(text, id=f"{page}-{k}") for page in PAGES for k, text in enumerate(blocks(page, "toml"))]
CODE = [pytest.param(text, id=f"{page}-{k}") for page in PAGES for k, text in enumerate(blocks(page, "python"))]
WARNS = {"trl.experimental.async_distillation": "TRL warns that it may change"}


@pytest.mark.parametrize("text", TABLES)
def test_run_files_are_valid(text: str, tmp_path: Path) -> None:
    """A part of a file is completed by the keys that every run needs."""
    run = RunConfig.model_validate({**RUN, **complete(tomllib.loads(text))})
    CrossTokenizerConfig(**{"output_dir": str(tmp_path), **run.trainer_arguments(), "use_cpu": True})


def complete(content: dict[str, Any]) -> dict[str, Any]:
    """Several teachers stand in place of one."""
    return content | ({"teacher": None} if "student" in content and "teacher" not in content else {})


def test_the_parts_of_the_quickstarts_file_belong_together() -> None:
    whole = tomllib.loads("\n".join(blocks(QUICKSTART, "toml")))
    run = RunConfig.model_validate(whole)
    assert set(whole["eval_tasks"]) == {"sums", "gsm8k"}
    assert run.lora == {"r": 16}


@pytest.mark.parametrize("code", CODE)
def test_what_is_imported_is_there(code: str) -> None:
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.ImportFrom) or node.module in WARNS:
            continue
        module = import_module(str(node.module))
        assert not [name.name for name in node.names if not hasattr(module, name.name)]


@pytest.mark.parametrize(("page", "test"), RUN_BY.items())
def test_code_that_needs_more_is_run_by_a_test_of_its_own(page: str, test: str) -> None:
    assert page in (ROOT / test).read_text(encoding="utf-8")
