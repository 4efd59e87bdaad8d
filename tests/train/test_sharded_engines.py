"""What engines that shard the weights cannot do is refused in words."""

import pytest

from crossdistill.errors import InputError
from tests.models import MESSAGES
from tests.train.harness import make_trainer, rows


def test_an_evaluation_before_training_is_refused(pair, output):
    trainer = make_trainer(pair, output, trainer_options={"eval_dataset": rows(MESSAGES[:2])})
    trainer.is_fsdp_enabled = True
    with pytest.raises(InputError, match="it cannot be evaluated before: evaluate after train"):
        trainer.evaluate()
    trainer.is_fsdp_enabled = False
    assert trainer.evaluate()["eval_loss"] >= 0
