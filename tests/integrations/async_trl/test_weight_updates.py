"""An update that fails goes on to its end, for the sake of the other processes, and is raised afterwards."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from crossdistill import InputError
from crossdistill.errors import RolloutServerError
from crossdistill.integrations.async_trl.weight_updates import WeightUpdates
from tests.integrations.async_trl.conftest import BATCH


class Transfer:
    """Fails at one of its calls, as often as it is made."""

    def __init__(self, fails_at: str = "", error: Exception | None = None):
        self.calls: list[str] = []
        self._fails_at, self._error = fails_at, error or OSError("unplugged")

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any) -> None:
            self.calls.append(name)
            if name == self._fails_at:
                raise self._error

        return call


def update(updates: WeightUpdates) -> list[str]:
    """One update; the names of the weights that were gathered for it."""
    gathered = []

    def weights() -> Iterator[tuple[str, torch.Tensor]]:
        for name in ("a", "b"):
            gathered.append(name)
            yield name, torch.zeros(1)

    updates.init_weight_transfer()
    updates.pause()
    updates.send_weights(weights())
    updates.resume()
    return gathered


@pytest.mark.parametrize(
    ("fails_at", "calls"),
    [
        ("init_weight_transfer", ["init_weight_transfer"]),
        ("pause", ["init_weight_transfer", "pause"]),
        ("send_weights", ["init_weight_transfer", "pause", "send_weights", "resume"]),
        ("resume", ["init_weight_transfer", "pause", "send_weights", "resume"]),
    ],
)
def test_a_failure_is_raised_at_the_end(fails_at, calls):
    transfer = Transfer(fails_at)
    updates = WeightUpdates(transfer)
    assert update(updates) == ["a", "b"]
    assert transfer.calls == calls
    with pytest.raises(RolloutServerError, match=r"did not reach the engine that samples \(OSError: unplugged\)"):
        updates.raise_failure()
    updates.raise_failure()


def test_an_error_of_ours_keeps_its_sentence():
    updates = WeightUpdates(Transfer("send_weights", InputError("give it a copy of the student.")))
    update(updates)
    with pytest.raises(InputError, match="give it a copy of the student"):
        updates.raise_failure()


def test_a_failed_update_ends_the_run_with_its_last_step_saved(make, sampler, output):
    class Unplugged:
        sent = 0

        def send_weights(self, iterator: Any) -> None:
            self.sent += 1
            if self.sent > 2:  # before the first step, and after it
                raise OSError("unplugged")
            sampler.send_weights(iterator)

        def __getattr__(self, name: str) -> Any:
            return getattr(sampler, name)

    trainer = make(transfer=Unplugged(), max_steps=4)
    with pytest.raises(RolloutServerError, match="unplugged"):
        trainer.train()
    assert (output / "checkpoint-2" / "rollout_state.json").exists()
    assert trainer._next_prompt == 2 * BATCH
    assert sampler._lock.acquire(blocking=False)  # it may go on
