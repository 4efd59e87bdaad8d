"""LocalTeacher against the model's own forward pass, one sequence alone and over the whole vocabulary."""

import numpy as np
import pytest
import torch

from crossdistill import InputError
from crossdistill.align import DropReason
from crossdistill.chat import PLAIN_TEMPLATE
from crossdistill.signal import Signal
from crossdistill.teachers import LocalTeacher, TeacherRequest, TeacherScore, WrittenResponse, check_teacher
from crossdistill.teachers.base import TeacherFindingError
from crossdistill.teachers.writing import write_responses
from tests import tiny_models
from tests.oracles import logprobs as oracle
from tests.tokenizers_in_process import build

VOCAB_SIZE = 330  # a little more than the tokenizer has
CLOSE = {"rtol": 1e-4, "atol": 2e-5}  # float32 in batches of another shape
LENGTHS = [(3, 5), (1, 1), (7, 20), (12, 0), (2, 9), (5, 2), (1, 0), (4, 13)]  # (prompt, response)


def teacher_of(name: str = "llama", declared: object = None, **options: object) -> LocalTeacher:
    model = tiny_models.build(name, VOCAB_SIZE)
    model.generation_config.eos_token_id = declared
    return LocalTeacher(model, build("gpt2"), **options)


def requests(lengths: list[tuple[int, int]] = LENGTHS, seed: int = 0) -> list[TeacherRequest]:
    rng = np.random.default_rng(seed)
    return [
        TeacherRequest(
            rng.integers(0, 300, prompt).tolist(), rng.integers(0, 300, response).tolist(), stopped=index % 3 != 1
        )
        for index, (prompt, response) in enumerate(lengths)
    ]


def assert_scored(teacher: LocalTeacher, asked: list[TeacherRequest], answers: list, temperature: float = 1.0) -> None:
    assert len(answers) == len(asked)
    for request, answer in zip(asked, answers, strict=True):
        expected, stop = oracle.sequence(
            teacher.model, request.prompt_ids, request.response_ids, teacher.stop_ids, temperature=temperature
        )
        assert isinstance(answer, TeacherScore)
        assert answer.logprobs.dtype == np.float32
        np.testing.assert_allclose(answer.logprobs, np.array(expected), **CLOSE)
        if request.stopped:
            assert answer.stop_logprob == pytest.approx(stop, rel=1e-4, abs=2e-5)
        else:
            assert answer.stop_logprob is None


@pytest.mark.parametrize("name", tiny_models.NAMES)
def test_scores_are_those_of_each_sequence_alone(name):
    """Mixed lengths in one padded batch; architectures with soft caps, scales, biases, absolute positions."""
    teacher, asked = teacher_of(name), requests()
    assert_scored(teacher, asked, teacher.score(asked))


@pytest.mark.parametrize("batch_tokens", [1, 20, 60, 10_000])
def test_the_size_of_batches_changes_nothing(batch_tokens):
    teacher, asked = teacher_of("gpt2", batch_tokens=batch_tokens), requests()
    assert_scored(teacher, asked, teacher.score(asked))


@pytest.mark.parametrize("batch_tokens", [1, 30, 60, 100])
def test_no_batch_holds_more_than_its_tokens_unless_one_sequence_does(monkeypatch, batch_tokens):
    shapes = []
    teacher = teacher_of(batch_tokens=batch_tokens)
    forward = teacher.model.model.forward

    def recording(input_ids, **kwargs):
        shapes.append(input_ids.shape)
        return forward(input_ids, **kwargs)

    monkeypatch.setattr(teacher.model.model, "forward", recording)
    asked = requests()
    teacher.score(asked)
    assert sum(rows for rows, _ in shapes) == len(asked)
    assert all(rows * longest <= batch_tokens or rows == 1 for rows, longest in shapes)
    assert len(shapes) == {1: 8, 30: 5, 60: 3, 100: 2}[batch_tokens]


@pytest.mark.parametrize("name", ["gpt2", "gemma3"])
def test_the_order_of_requests_changes_nothing(name):
    teacher, asked = teacher_of(name), requests()
    order = np.random.default_rng(1).permutation(len(asked))
    assert_scored(teacher, [asked[k] for k in order], teacher.score([asked[k] for k in order]))


def test_temperature_divides_the_logits():
    teacher, asked = teacher_of("gemma2", temperature=0.6), requests()
    assert_scored(teacher, asked, teacher.score(asked), temperature=0.6)


def test_the_temperature_can_be_set_later():
    teacher, asked = teacher_of("gemma2"), requests()
    teacher.set_temperature(0.6)
    assert teacher.temperature == 0.6
    assert_scored(teacher, asked, teacher.score(asked), temperature=0.6)


def test_it_writes_what_its_model_generates():
    teacher = teacher_of()
    assert teacher.can_write
    prompts = ["Add 12 and 30.", [{"role": "user", "content": "Hello"}], "Again"]
    written = list(teacher.write(prompts, 6, 0.8, seed=3, first_row=9))
    expected = write_responses(teacher.model, teacher.tokenizer, prompts, 6, 0.8, seed=3, first_row=9)
    assert written == list(expected)
    assert [type(response) for response in written] == [WrittenResponse] * 3
    assert written != list(teacher.write(prompts, 6, 0.8, seed=4, first_row=9))


@pytest.mark.parametrize(("name", "is_tied"), [("llama", False), ("gpt2", True)])
def test_parameters_in_matrix_products(name, is_tied):
    """The matrices of its layers and its head, which may be its input embedding too."""
    teacher = teacher_of(name)
    assert teacher.model.config.tie_word_embeddings == is_tied
    layers = [weight for key, weight in teacher.model.named_parameters() if ".layers." in key or ".h." in key]
    matrices = sum(weight.numel() for weight in layers if weight.dim() == 2)
    assert teacher.num_params == matrices + teacher.model.get_output_embeddings().weight.numel()
    assert teacher.flops.params == teacher.num_params
    assert teacher.flops.attention != ()
    assert check_teacher(teacher) is teacher


def test_an_empty_response_has_the_stop_alone():
    teacher = teacher_of()
    asked = [TeacherRequest([1, 2, 3], [], True), TeacherRequest([1, 2, 3], [], False)]
    answers = teacher.score(asked)
    assert_scored(teacher, asked, answers)
    assert [answer.logprobs.shape for answer in answers] == [(0,), (0,)]
    assert answers[0].stop_logprob < 0


def test_no_requests():
    assert teacher_of().score([]) == []


def test_the_mass_of_all_stop_tokens_is_the_probability_of_stopping():
    """Written out: the declared token and the tokenizer's own end token share the mass."""
    teacher = teacher_of(declared=[7])
    end = teacher.tokenizer.eos_token_id
    assert teacher.stop_ids == (7, end)
    (answer,) = teacher.score([TeacherRequest([5, 6], [8], True)])
    with torch.no_grad():
        probabilities = torch.softmax(teacher.model(input_ids=torch.tensor([[5, 6, 8]])).logits[0, -1].double(), -1)
    assert np.exp(answer.stop_logprob) == pytest.approx((probabilities[7] + probabilities[end]).item(), rel=1e-4)
    assert min(probabilities[7], probabilities[end]) > 1e-5  # both of them count


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_sample_beyond_the_context_is_dropped_alone(name):
    teacher = teacher_of(name)
    assert teacher.max_length == 64
    asked = requests([(4, 61), (4, 60), (64, 0), (65, 0), (2, 3)])
    answers = teacher.score(asked)
    assert [answers[0], answers[3]] == [DropReason.TEACHER_CONTEXT] * 2
    kept = [1, 2, 4]
    assert_scored(teacher, [asked[k] for k in kept], [answers[k] for k in kept])


def test_when_nothing_fits_nothing_is_run():
    assert teacher_of().score(requests([(65, 0), (3, 70)])) == [DropReason.TEACHER_CONTEXT] * 2


def test_the_model_is_frozen_in_evaluation_mode_and_leaves_no_graph():
    model = tiny_models.build("llama", VOCAB_SIZE).train()
    teacher = LocalTeacher(model, build("gpt2"))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert teacher.signal is Signal.DENSE
    assert len(teacher.vocab) == VOCAB_SIZE


def test_a_tokenizer_without_a_template_gets_the_plain_one():
    assert teacher_of().tokenizer.chat_template.endswith(PLAIN_TEMPLATE)
    made = build("gpt2")
    made.chat_template = "{{ messages[0].content }}"
    teacher = LocalTeacher(tiny_models.build("llama", VOCAB_SIZE), made)
    assert teacher.tokenizer.chat_template == "{{ messages[0].content }}"


def test_a_model_smaller_than_its_tokenizer_is_refused():
    with pytest.raises(InputError, match="the model has 100 token ids but its tokenizer uses ids up to 315 for text"):
        LocalTeacher(tiny_models.build("llama", 100), build("gpt2"))


def test_a_teacher_without_a_stop_token_is_refused():
    made = build("gpt2")
    made.eos_token = None
    with pytest.raises(InputError, match=r"the teacher declares no stop token, .* set its tokenizer's eos_token"):
        LocalTeacher(tiny_models.build("llama", VOCAB_SIZE), made)


def test_a_head_that_is_not_understood_is_refused(monkeypatch):
    model = tiny_models.build("llama", VOCAB_SIZE)
    forward = type(model).forward

    def rewritten(self, *args, **kwargs):
        output = forward(self, *args, **kwargs)
        output.logits = output.logits * 2
        return output

    monkeypatch.setattr(type(model), "forward", rewritten)
    with pytest.raises(InputError, match="this architecture is not supported"):
        LocalTeacher(model, build("gpt2"))


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_states_predict_the_tokens_and_what_follows(name):
    teacher, asked = teacher_of(name), requests()
    for request, answer in zip(asked, teacher.score(asked, Signal.DENSE), strict=True):
        states = answer.states
        assert states.hidden.shape[0] == len(request.response_ids) + 1
        log_probs = oracle.log_softmax(states.head.logits(states.hidden))
        rows = log_probs[:-1].gather(1, torch.tensor(request.response_ids, dtype=torch.long)[:, None])[:, 0]
        np.testing.assert_allclose(answer.logprobs, rows, **CLOSE)
        _, stop = oracle.sequence(teacher.model, request.prompt_ids, request.response_ids, teacher.stop_ids)
        assert log_probs[-1, list(teacher.stop_ids)].logsumexp(-1).item() == pytest.approx(stop, rel=1e-4, abs=2e-5)
        assert answer.topk is None


def test_the_top_k_are_the_most_probable_at_the_teachers_temperature():
    teacher, asked = teacher_of(temperature=0.6), requests()
    for answer, dense in zip(teacher.score(asked, Signal.TOPK, 5), teacher.score(asked, Signal.DENSE), strict=True):
        log_probs = oracle.log_softmax(dense.states.head.logits(dense.states.hidden), 0.6)
        expected = log_probs.topk(5, -1)
        assert answer.topk.ids.tolist() == expected.indices.tolist()
        np.testing.assert_allclose(answer.topk.logprobs, expected.values, **CLOSE)
        assert answer.states is None


def test_a_text_on_which_the_teacher_overflows_names_the_layer():
    """Half precision may overflow on some texts alone, which no probe at the start has seen."""
    teacher = teacher_of()
    layer = teacher.model.model.layers[0].mlp.down_proj

    def overflow(module, inputs, output):
        return output * torch.where(output.abs().sum() > 0, torch.inf, 1.0) * 0  # inf * 0: NaN

    handle = layer.register_forward_hook(overflow)
    with pytest.raises(TeacherFindingError, match=r"not finite: the layer model\.layers\.0\.mlp\.down_proj \(Linear"):
        teacher.score(requests())
    handle.remove()
    assert_scored(teacher, requests(), teacher.score(requests()))
