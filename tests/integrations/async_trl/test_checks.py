import pytest
import torch

from crossdistill import InputError
from crossdistill.distill import Distiller
from crossdistill.findings import FindingError
from crossdistill.integrations.async_trl import AsyncTrainer, RolloutWorker
from crossdistill.integrations.async_trl.checks import UNSUPPORTED, check_packing
from tests.integrations.async_trl.conftest import arguments, load
from tests.models import Pair


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 0.5}, "beta cannot be set here: it belongs to TRL's own divergence"),
        ({"temperature": 0.7}, "temperature cannot be set here: it is the Distiller's"),
        ({"top_p": 0.9}, "top_p cannot be set here"),
        ({"max_staleness": -1}, "max_staleness must be at least 0, not -1"),
        ({"token_budget": 4096}, "token_budget cannot be set here"),
    ],
)
def test_settings_that_are_not_honoured_are_refused(make, options, message):
    with pytest.raises(InputError, match=message):
        make(**options)


def test_every_refused_setting_is_one_of_trl(output):
    assert set(UNSUPPORTED) <= set(vars(arguments(output)))


@pytest.mark.parametrize("objective", ["alm", "simct", "bld"])
def test_objectives_that_compare_distributions_are_refused_by_name(pair, teacher, sampler, output, objective):
    student = load(pair.student)
    tokenizer = Distiller(_tokenizer(pair), teacher).renderer.tokenizer
    dense = Distiller(tokenizer, teacher, objective, vocab_size=student.get_input_embeddings().weight.shape[0])
    worker = RolloutWorker(dense, [{"prompt": "one"}], sampler)
    with pytest.raises(InputError, match=f"objective '{objective}' has a loss of its own"):
        AsyncTrainer(pair.student, worker, arguments(output), weight_transfer=sampler)


def _tokenizer(pair: Pair):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(pair.student)


def test_a_model_that_keeps_packed_responses_apart_passes(pair):
    check_packing(load(pair.student))


def test_a_model_that_mixes_packed_responses_is_refused(pair, monkeypatch):
    model = load(pair.student)
    forward = model.model.forward
    mixed = lambda input_ids, position_ids, **rest: forward(  # noqa: E731
        input_ids=input_ids, attention_mask=torch.ones_like(input_ids), position_ids=position_ids, **rest
    )
    monkeypatch.setattr(model.model, "forward", mixed)
    with pytest.raises(FindingError, match="LlamaForCausalLM does not keep two responses in one row apart"):
        check_packing(model)


def test_a_copy_of_another_student_is_refused(pair, sampler):
    with pytest.raises(InputError, match="the sampler's model has no weight 'another'"):
        sampler.send_weights(iter([("another", torch.zeros(1))]))
    with pytest.raises(InputError, match="the trainer sent no weights"):
        sampler.send_weights(iter([]))
