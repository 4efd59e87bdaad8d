"""Seams in verl's driver: its agent loop manager, its replay buffer and its checkpoints.

verl goes on if a response fails, and ends with "Received an empty list as keys" if all do. Here the replay buffer
raises what went wrong, in one sentence, after a checkpoint if the fault is the teacher's.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import transfer_queue as tq
from omegaconf import OmegaConf
from verl.trainer.ppo.checkpoint_callback import CheckpointCallback
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopManagerTQ
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.utils import tensordict_utils

from crossdistill import __version__
from crossdistill.errors import TeacherError
from crossdistill.inspection.model_files import read_tokenizer
from crossdistill.integrations.verl.checks import check_settings, look_up, teaching_of
from crossdistill.integrations.verl.loading import loop_names
from crossdistill.integrations.verl.plugin import IS_VALIDATION
from crossdistill.integrations.verl.record import FIELD, Record, raise_first
from crossdistill.integrations.verl.watch import PREFIX, Watch
from crossdistill.train.monitor.coverage_guard import LowCoverageError


class DistillationManager(AgentLoopManagerTQ):
    """Tells the agent loops whether they sample for a validation."""

    def generate_sequences(self, prompts: Any) -> None:
        """Dispatch prompts to the agent loops."""
        is_validation = "validate" in prompts and bool(prompts["validate"])
        tensordict_utils.assign_non_tensor_data(prompts, IS_VALIDATION, is_validation)
        super().generate_sequences(prompts)


class DistillationBuffer(ReplayBuffer):
    """The replay buffer of verl's synchronous trainer, which looks at what it hands on.

    Made before any model is loaded, it checks the run first.

    Attributes:
        watch: the figures of the run.

    Raises:
        InputError: a run that cannot work.
        TeacherError: a teacher's server does not answer.
    """

    def __init__(self, *, refill_fn: Callable[..., Any], **kwargs: Any):
        super().__init__(refill_fn=refill_fn, **kwargs)
        self._trainer: Any = refill_fn.__self__  # type: ignore[attr-defined]  # the trainer, which this is given
        config: Any = OmegaConf.to_container(self._trainer.config, resolve=True)
        options = check_settings(config, loop_names())
        model = config["actor_rollout_ref"]["model"]
        teaching = teaching_of(config, options, read_tokenizer(model.get("tokenizer_path") or model["path"]))
        teaching.findings.emit = _say
        teaching.check()
        self.watch = Watch(options, *teaching.vocabs(), emit=_say)
        self._num_sessions = int(look_up(config, "actor_rollout_ref.rollout.n", 1))
        self._has_begun = False
        teachers = ", ".join(table.model for table in options.named_teachers.values())
        _say(f"crossdistill {__version__} distils {model['path']} under {teachers}, objective {options.objective}")

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, float]]:
        """A batch of responses, and metrics.

        Raises:
            InputError, TeacherError, LowCoverageError: what went wrong with a response, or with too many of them.
            RuntimeError: every response failed inside of verl.
        """
        try:
            batch, metrics = super().sample(global_steps, partition_id, batch_size)
        except RuntimeError as error:
            if _NO_RESPONSE not in str(error):
                raise
            raise RuntimeError(_ALL_FAILED) from error
        if not batch.keys:
            raise RuntimeError(_ALL_FAILED)
        records = _records(batch)
        if partition_id == "val":
            raise_first(records)
            return batch, metrics
        step = global_steps - 1
        self._begin(step)
        try:
            metrics = {**metrics, **self.watch.see(records, step)}
        except (TeacherError, LowCoverageError) as error:
            raise type(error)(f"{error} {self._saved(step)}") from None
        failed = batch_size * self._num_sessions - len({key.rsplit("_", 1)[0] for key in batch.keys})
        if failed:
            _say(f"step {global_steps}: {failed} responses failed inside of verl, whose log has the traceback.")
        return batch, {**metrics, f"{PREFIX}failed_responses": float(failed)}

    def _begin(self, step: int) -> None:
        """Go on from the checkpoint of a resumed run."""
        if not self._has_begun and step:
            self.watch.load(_folder(self._trainer, step))
        self._has_begun = True

    def _saved(self, step: int) -> str:
        """Save a checkpoint of the last complete step, and say so."""
        if not step:
            return "Nothing was trained: launch again once it is mended."
        if not (_folder(self._trainer, step) / "data.pt").exists():
            self._trainer.on_sample_end()  # the samplers give their memory back, as before each checkpoint
            self._trainer.global_steps = step
            self._trainer._save_checkpoint()
        return f"There is a checkpoint of step {step}: launch again with trainer.resume_mode=auto to go on from it."


class SaveWatch(CheckpointCallback):
    """Puts the watchdog's state into verl's checkpoints."""

    def on_save(self, trainer: Any, global_step: int, checkpoint_dir: str, **kwargs: Any) -> None:
        """After verl has saved a checkpoint."""
        trainer.replay_buffer.watch.save(Path(checkpoint_dir))


_NO_RESPONSE = "no materializable trajectories"
"""Of verl's own error."""
_ALL_FAILED = (
    "every response failed inside of verl's agent loop: its log has the traceback above, after 'Error in _run_prompt'."
)


def _records(batch: Any) -> Sequence[Record]:
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["extra_fields"])
    return [Record.read(getattr(fields, "data", fields)[FIELD]) for fields in list(data["extra_fields"])]


def _folder(trainer: Any, step: int) -> Path:
    return Path(trainer.config.trainer.default_local_dir) / f"global_step_{step}"


def _say(message: str) -> None:
    print(message, flush=True)  # verl's log of the driver is its output
