import pytest
from transformers import ByT5Tokenizer

from crossdistill import ByteVocab
from crossdistill.findings import Severity
from crossdistill.inspection.vocab_findings import coverage_findings, thinking_findings
from tests.tokenizers_in_process import BUILDERS, CHARACTER_BUILDERS


def test_a_thinking_tag_that_is_a_control_token():
    tokenizer = ByT5Tokenizer(extra_ids=0, additional_special_tokens=["<think>"])
    (finding,) = thinking_findings(tokenizer, "student")
    assert "the student's tokenizer has <think> as control tokens" in finding.message
    assert list(thinking_findings(tokenizer, "student", text_tokens=["<think>"])) == []
    assert list(thinking_findings(ByT5Tokenizer(extra_ids=0), "student")) == []


@pytest.mark.parametrize(("teacher", "warns"), [(BUILDERS["gemma"], False), (CHARACTER_BUILDERS["bert"], True)])
def test_a_teacher_that_cannot_encode_everything(vocabs, teacher, warns):
    found = list(coverage_findings(vocabs["qwen"], ByteVocab.from_tokenizer(teacher()), "teacher 'math'"))
    assert [finding.kind.severity for finding in found] == [Severity.WARNING] * warns
    for finding in found:
        assert finding.message.startswith("the teacher 'math''s tokenizer has no entries for some text: it can super")
