"""What must hold in verl's configuration, and whether the plug-in has loaded."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from crossdistill.demo.run import asset
from crossdistill.errors import InputError
from crossdistill.inspection.model_files import read_tokenizer
from crossdistill.integrations.verl.checks import REQUIRED, SEAMS, check_settings
from crossdistill.integrations.verl.loading import POLICY, check_plugin
from crossdistill.integrations.verl.options import parse
from crossdistill.integrations.verl.run_file import nested
from tests.integrations.verl.pair import DEFAULTS, composed, teaching
from tests.test_imports import ENGINES, fresh

LOOP = "actor_rollout_ref.rollout.agent.default_agent_loop"
BYPASS = "algorithm.rollout_correction.bypass_mode"
SOUND = {**SEAMS, LOOP: "crossdistill", BYPASS: True, "crossdistill.teacher": "org/teacher"}

ALL = {**DEFAULTS, **SOUND}


def refusal(**changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        check_settings(composed({**SOUND, **{key.replace("__", "."): value for key, value in changes.items()}}))
    return str(caught.value)


def test_a_sound_configuration():
    assert check_settings(composed(SOUND)).teacher == "org/teacher"
    assert check_settings(composed({**SOUND, LOOP: "crossdistill_tools"}))
    assert check_settings(composed({**SOUND, LOOP: "mine"}), ("mine",))


@pytest.mark.parametrize("key", SEAMS)
def test_a_seam_that_is_missing_is_named(key):
    with pytest.raises(InputError, match=f"{key} is None: the plug-in needs {key}="):
        check_settings(nested({name: value for name, value in ALL.items() if name != key}))


@pytest.mark.parametrize("key", [key for key in REQUIRED if REQUIRED[key][0] is not None])
def test_a_setting_that_is_missing_is_named(key):
    with pytest.raises(InputError, match=f"{key} is None, and "):
        check_settings(nested({name: value for name, value in ALL.items() if name != key}))


def test_without_its_section():
    with pytest.raises(InputError, match=r"no section crossdistill: add \+crossdistill.teacher=URL"):
        check_settings(nested(SEAMS))


def test_settings_under_which_the_loss_would_be_another():
    found = refusal(actor_rollout_ref__actor__loss_agg_mode="seq-mean-token-mean")
    assert found == (
        "actor_rollout_ref.actor.loss_agg_mode is 'seq-mean-token-mean', and every supervised token counts alike: set "
        "actor_rollout_ref.actor.loss_agg_mode=token-mean."
    )
    assert "calculate_log_probs=True" in refusal(actor_rollout_ref__rollout__calculate_log_probs=False)
    assert "rollout_is=null" in refusal(algorithm__rollout_correction__rollout_is="token")
    assert "bypass_mode=True" in refusal(**{BYPASS: False})
    assert "its rewards would take the place" in refusal(reward__reward_model__enable=True)
    assert "logprobs_mode=processed_logprobs" in refusal(actor_rollout_ref__rollout__logprobs_mode="raw_logprobs")
    assert "of the tokens that are left" in refusal(actor_rollout_ref__rollout__top_p=0.9)
    assert "of the tokens that are left" in refusal(actor_rollout_ref__rollout__top_k=50)
    assert "critic_warmup=0" in refusal(trainer__critic_warmup=5)
    assert "drawn one by one" in refusal(trainer__v1__sampler__sync_refill_failed_groups=True)
    assert "scales every gradient to 0" in refusal(actor_rollout_ref__actor__optim__clip_grad=0.0)
    assert "which does not ask the teacher" in refusal(**{LOOP: "single_turn_agent"})
    assert "trainer_mode=sync" in refusal(trainer__v1__trainer_mode="separate_async")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "names one teacher .* or several"),
        ({"teacher": "a", "teachers": {"b": {"model": "c"}}}, "names one teacher .* or several"),
        ({"teacher": "a", "techer": "b"}, "unknown key 'techer'; did you mean 'teacher'?"),
        ({"teacher": "a", "objective_options": {"clip_low": 0.1}}, "set actor_rollout_ref.actor.clip_ratio_low"),
        ({"teacher": "a", "objective": "uld"}, "objective 'uld' has a loss of its own"),
        ({"teacher": "a", "low_coverage": "shout"}, "low_coverage must be one of"),
        ({"teacher": "a", "teacher_rules": {"b": ""}}, "teacher_rules names 'b', which is not one of the teachers"),
    ],
)
def test_sections_that_cannot_work(section, message):
    with pytest.raises(InputError, match=message):
        parse(section)


def test_a_run_is_checked_before_weights_are_read():
    teaching().check()
    with pytest.raises(InputError, match="a model cannot learn from itself"):
        teaching(teacher=asset("student")).check()
    with pytest.raises(InputError, match="needs its tokenizer on this machine"):
        teaching(teacher="http://127.0.0.1:1").check()


def test_a_server_is_asked_before_weights_are_read():
    pytest.importorskip("httpx")
    from tests.teacher_server import Scorer, TeacherServer

    model = AutoModelForCausalLM.from_pretrained(asset("teacher"), dtype=torch.float32)
    with TeacherServer(Scorer(model, read_tokenizer(asset("teacher")))) as server:
        teaching(teacher=server.url, teacher_tokenizer=asset("teacher")).check()
        with pytest.raises(InputError, match="the server's tokenizer is not the one that was given"):
            teaching(teacher=server.url, teacher_tokenizer=asset("student")).check()
    with pytest.raises(InputError, match="cannot be reached"):
        patience = {"patience_s": 0.01}
        teaching(teacher=server.url, teacher_tokenizer=asset("teacher"), teacher_server=patience).check()


# ---- whether it has loaded


def test_a_plug_in_that_verl_does_not_load(monkeypatch):
    check_plugin(["crossdistill"], load=lambda: None)
    with pytest.raises(InputError, match="verl finds no plug-in 'crossdistill' in this environment: pip install"):
        check_plugin(["other"], load=lambda: None)
    monkeypatch.setenv(POLICY, "none")
    with pytest.raises(InputError, match=f"{POLICY}=none keeps verl from loading the plug-in"):
        check_plugin(["crossdistill"], load=lambda: None)
    monkeypatch.setenv(POLICY, "other, crossdistill")
    check_plugin(["crossdistill"], load=lambda: None)


def test_a_plug_in_that_fails_to_load():
    def load():
        raise ImportError("cannot import name 'register'")

    with pytest.raises(InputError, match=r"does not load in this environment .cannot import name 'register'.: install"):
        check_plugin(["crossdistill"], load=load)


def test_what_verl_loads_needs_no_engine_of_ours():
    modules = ("options", "checks", "teaching", "scoring", "record", "watch", "loading")
    program = "\n".join(f"import crossdistill.integrations.verl.{name}" for name in modules)
    assert "datasets" in ENGINES
    assert not fresh(program, blocked=["trl", "datasets", "verl"])
