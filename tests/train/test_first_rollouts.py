"""A run whose teacher is the student itself, as an object: told after its first responses; a sound pair is not."""

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossdistill.demo.run import asset
from crossdistill.train.monitor.rollout_sums import RolloutSums
from tests.train.harness import make_trainer

STEPS = {"max_steps": 8, "learning_rate": 1e-7, "num_train_epochs": 8}  # of 4 responses each


def kinds(trainer):
    trainer.train()
    return [one.kind.name for one in trainer.findings.findings]


def test_a_teacher_that_equals_its_student(pair, output):
    student = asset("student")  # a trained one: random tokens are not those into which their own text is encoded
    itself = AutoModelForCausalLM.from_pretrained(student)
    tokenizer = {"teacher_processing_class": AutoTokenizer.from_pretrained(student)}
    sums = [
        [{"role": "user", "content": f"two hundred plus {number} hundred"}] for number in ("one", "two", "six", "ten")
    ]
    options = {"student": student, "teacher": itself, "prompts": sums, "trainer_options": tokenizer}
    trainer = make_trainer(pair, output, **options, **{**STEPS, "max_completion_length": 48})
    assert "no_headroom" in kinds(trainer)


def test_ends_are_counted_as_the_teacher_scores_them(pair, output):
    trainer = make_trainer(pair, output, **STEPS)
    seen = []
    trainer.monitors[-1].see = seen.append
    assert "no_headroom" not in kinds(trainer)
    for one in seen:
        ends = [row.teacher.stop_logprob for row in one.batch.responses if row.response.stop_position is not None]
        assert one.sums.scored_ends == len(ends)
        assert one.sums.end_probability == pytest.approx(np.exp(ends).sum())
    assert sum(one.sums.scored_ends for one in seen) > 0
    assert RolloutSums().end_probability == 0
