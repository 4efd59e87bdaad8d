"""The wheel as a user has it: what is in it, its page on a package index, and its types under mypy --strict."""

import os
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from crossdistill import __version__
from tests.snippets import ROOT
from tests.test_packaging import readme_of_the_index

pytestmark = pytest.mark.slow
PROGRAM = """\
from crossdistill import ByteVocab, InputError, align
from crossdistill.objectives import Objective, get
from crossdistill.teachers import LocalTeacher, Teacher
from crossdistill.train import CrossTokenizerConfig, CrossTokenizerTrainer


def num_chunks(student: ByteVocab, teacher: ByteVocab, text: str) -> int:
    ends = [vocab.encode(text).ends for vocab in (student, teacher)]
    return len(align(*ends).byte_splits) - 1


def objective(name: str) -> Objective | None:
    try:
        return get(name)
    except InputError:
        return None


def trainer(teacher: str | Teacher) -> CrossTokenizerTrainer:
    args = CrossTokenizerConfig(output_dir="out", per_device_train_batch_size=1, max_steps=20, bf16=False)
    return CrossTokenizerTrainer(model="student", teacher=teacher, args=args, train_dataset=[{"prompt": "1 + 1"}])


def first(one: LocalTeacher) -> Teacher:
    return one


trainer("teacher").train()
"""
WRONG = "from crossdistill import ByteVocab\n\nvocab: int = ByteVocab.from_tokenizer(None)\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built by what the group `dev` installs: nothing is fetched."""
    for module in ("build", "hatchling", "hatch_fancy_pypi_readme"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert built.returncode == 0, built.stderr + built.stdout
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode("utf-8"))


def test_the_wheel_says_that_it_is_typed_and_holds_the_demo(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {"crossdistill/py.typed", "crossdistill/demo/assets/student/model.safetensors"} <= names
    assert {name.partition("/")[0] for name in names} == {"crossdistill", f"crossdistill-{__version__}.dist-info"}


def test_a_package_index_shows_the_readme_with_links_that_work(wheel: zipfile.ZipFile) -> None:
    assert metadata(wheel)["Description-Content-Type"] == "text/markdown"
    assert str(metadata(wheel).get_payload()).strip() == readme_of_the_index().strip()


def check_types(wheel: zipfile.ZipFile, folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    """mypy --strict, without the settings of this repository, on a program that has the wheel installed."""
    site = folder / "site-packages"
    wheel.extractall(site)
    (folder / "mine.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, "mine.py"]
    env = os.environ | {"PYTHONPATH": str(site)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=env)


@pytest.mark.long
def test_a_users_program_is_checked_against_its_types(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    checked = check_types(wheel, tmp_path, PROGRAM)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    wrong = check_types(wheel, tmp_path, WRONG)
    assert 'has type "ByteVocab", variable has type "int"' in wrong.stdout
