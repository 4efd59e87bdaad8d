"""Packages that a setting needs, told before anything is read."""

from importlib import machinery
from typing import Any

import pytest
from packaging.requirements import Requirement

from crossdistill.errors import InputError
from crossdistill.runs.sft import sft_arguments
from crossdistill.train.preflight import packages
from crossdistill.train.preflight.packages import check_packages, version_findings
from crossdistill.versions import Conflict
from tests.train.harness import arguments


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None)


FLASH = {"attn_implementation": "flash_attention_2"}
NEEDS: list[tuple[dict[str, Any], str]] = [
    ({"report_to": "wandb"}, "report_to = 'wandb' needs wandb, which is not installed: pip install wandb, or name"),
    ({"report_to": ["tensorboard"]}, "pip install 'crossdistill[tensorboard]', or name another logger."),
    ({"deepspeed": "zero2.json"}, "deepspeed needs deepspeed, .*: pip install 'crossdistill[deepspeed]', or leave"),
    (
        {"optim": "adamw_8bit"},
        "optim = 'adamw_8bit' needs bitsandbytes, .*: pip install bitsandbytes, or leave it out.",
    ),
    ({"optim": "paged_adamw_32bit"}, "needs bitsandbytes"),
    ({"optim": "schedule_free_adamw"}, "pip install schedulefree"),
    ({"optim": "adamw_torch_4bit"}, "needs torchao"),
    ({"use_liger_kernel": True}, "use_liger_kernel = true needs liger_kernel, .*: pip install liger-kernel"),
    ({"model_init_kwargs": FLASH}, r"'flash_attention_2' \(model_init_kwargs\) needs flash_attn, .*\(or kernels"),
    ({"teacher_model_init_kwargs": FLASH}, r"\(teacher_model_init_kwargs\) needs flash_attn"),
    ({"model_init_kwargs": {"attn_implementation": "kernels-community/flash-attn3"}}, "pip install kernels, or"),
]


@pytest.mark.usefixtures("absent")
@pytest.mark.parametrize(("options", "message"), NEEDS)
def test_what_is_not_installed(output, options, message):
    message = message.replace("[", r"\[").replace("]", r"\]")
    with pytest.raises(InputError, match=message):
        arguments(output, **options)
    if "teacher_model_init_kwargs" not in options:
        with pytest.raises(InputError, match=message):
            sft_arguments(output, options)


@pytest.mark.parametrize("options", [options for options, _ in NEEDS])
def test_what_is_installed_is_not_mentioned(monkeypatch, options):
    monkeypatch.setattr(packages, "find_spec", lambda name: machinery.ModuleSpec(name, None))
    check_packages(options)


@pytest.mark.usefixtures("absent")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"report_to": "none", "optim": "adamw_torch_fused", "deepspeed": None, "model_init_kwargs": None},
        {"report_to": [], "optim": "adafactor", "model_init_kwargs": {"attn_implementation": "sdpa"}},
        {"report_to": "all", "optim": "sgd", "use_liger_kernel": False},
    ],
)
def test_settings_that_need_nothing(options):
    check_packages(options)


def test_a_logger_that_is_misspelt(output):
    with pytest.raises(InputError, match="report_to names 'wandbb', which is no logger; did you mean 'wandb'"):
        arguments(output, report_to="wandbb")


def test_versions_out_of_range():
    conflicts = [
        Conflict("crossdistill[train]", "0.1", Requirement("trl>=1.16,<1.17"), "1.20.0"),
        Conflict("crossdistill[evalscope]", "0.1", Requirement("evalscope<2"), "3.0"),
        Conflict("trl[vllm]", "1.16.0", Requirement("transformers<5"), "5.23"),
    ]
    [found] = version_findings(conflicts)
    assert found.message == (
        "crossdistill[train] 0.1 needs trl<1.17,>=1.16, and 1.20.0 is installed, with which this release was not "
        "tried: pip install 'trl<1.17,>=1.16'."
    )
    assert list(version_findings([])) == []
    assert list(version_findings()) == []  # those here
