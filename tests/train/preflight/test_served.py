"""Settings of teachers behind servers."""

import pytest

from crossdistill import InputError
from crossdistill.train import CrossTokenizerConfig
from crossdistill.train.preflight.served import served_teacher
from tests.models import teacher_tokenizer


def test_processes_must_wait_for_each_other_longer_than_for_the_server(output, monkeypatch):
    monkeypatch.setattr(CrossTokenizerConfig, "world_size", 2)
    args = CrossTokenizerConfig(str(output), ddp_timeout=700, use_cpu=True, bf16=False)
    url, options = "http://127.0.0.1:9", {"patience_s": 600, "timeout_s": 100}
    with pytest.raises(InputError, match=r"ddp_timeout = 700 .*\(patience_s \+ timeout_s = 700 s\)"):
        served_teacher(url, "teacher", teacher_tokenizer(), args, options)
