"""SmolLM2 and Gemma, as `make real-models` fetches them: `make test-real`."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossdistill import ByteVocab
from crossdistill.chat import render_prompt
from crossdistill.paired import PairedTokenization
from crossdistill.teachers import LocalTeacher, TeacherRequest

MODELS = Path(__file__).parents[2] / "models"
NAMES = ("smollm2-135m-instruct", "gemma-3-270m")
TEXTS = (
    "Natalia sold 48/2 = 24 clips in May.\nNatalia sold 48+24 = 72 clips altogether.\n#### 72",
    "答案是：你好，世界。结果为 42。 Größe ≥ 2√2 🤗👩\u200d🚀",
    "def f(x):\n    return   x ** 2\t# two\n",
)
pytestmark = pytest.mark.real_models


@pytest.fixture(scope="module", params=NAMES)
def teacher(request):
    folder = MODELS / request.param
    if not folder.exists():
        pytest.fail(f"{folder} is missing: run `make real-models` first")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return LocalTeacher(model, AutoTokenizer.from_pretrained(folder))


@pytest.mark.parametrize("student", NAMES)
@pytest.mark.parametrize("text", TEXTS)
def test_every_byte_of_a_text_is_in_a_chunk(teacher, student, text):
    vocab = ByteVocab.from_tokenizer(AutoTokenizer.from_pretrained(MODELS / student))
    data = text.encode()
    ours, theirs = vocab.encode(data), teacher.vocab.encode(data)
    assert vocab.decode(ours.ids) == teacher.vocab.decode(theirs.ids) == data
    alignment = PairedTokenization.of(vocab, ours.ids, teacher.vocab).alignment
    assert alignment.byte_splits[-1] == len(data)
    common = sorted(set(ours.ends.tolist()) & set(theirs.ends.tolist()))
    assert alignment.byte_splits[1:].tolist() == common


def test_scores_are_the_models_own(teacher):
    """Against the whole logits of one unpadded sequence."""
    prompt = render_prompt(teacher.tokenizer, [{"role": "user", "content": "How many clips?"}])
    requests = [TeacherRequest(prompt, teacher.vocab.encode(text).ids.tolist(), stopped=True) for text in TEXTS]
    for request, score in zip(requests, teacher.score(requests), strict=True):
        ids = torch.tensor([[*request.prompt_ids, *request.response_ids]])
        with torch.no_grad():
            log_probs = teacher.model(ids).logits[0].log_softmax(-1)
        rows = torch.arange(len(prompt) - 1, ids.shape[1] - 1)
        expected = log_probs[rows, torch.tensor(request.response_ids)].numpy()
        np.testing.assert_allclose(score.logprobs, expected, atol=2e-3)
        stop = log_probs[-1, list(teacher.stop_ids)].logsumexp(0).item()
        assert score.stop_logprob == pytest.approx(stop, abs=2e-3)
