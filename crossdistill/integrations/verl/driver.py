"""Seams in verl's driver: its agent loop manager, its replay buffer and its checkpoints.

verl goes on if a response fails, and ends with "Received an empty list as keys" if all do. Here the replay buffer
raises what went wrong, in one sentence, after a checkpoint if the fault is the teacher's.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
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
from crossdistill.integrations.verl.checkpoints import Checkpoints
from crossdistill.integrations.verl.checks import check_settings, look_up, teaching_of
from crossdistill.integrations.verl.loading import loop_names
from crossdistill.integrations.verl.plugin import IS_VALIDATION
from crossdistill.integrations.verl.record import Record, ResponseError, raise_first
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
        checkpoints: of the run.

    Raises:
        InputError: a run that cannot work.
        TeacherError: a teacher's server does not answer.
    """

    def __init__(self, *, refill_fn: Callable[..., Any], **kwargs: Any):
        super().__init__(refill_fn=refill_fn, **kwargs)
        trainer: Any = refill_fn.__self__  # type: ignore[attr-defined]  # the trainer, which this is given
        config: Any = OmegaConf.to_container(trainer.config, resolve=True)
        self._options = options = check_settings(config, loop_names())
        model = config["actor_rollout_ref"]["model"]
        teaching = teaching_of(config, options, read_tokenizer(model.get("tokenizer_path") or model["path"]))
        teaching.findings.emit = _say
        teaching.check()
        self.watch = Watch(options, *teaching.vocabs(), emit=_say)
        self._num_sessions = int(look_up(config, "actor_rollout_ref.rollout.n", 1))
        self.checkpoints = Checkpoints(trainer)
        teachers = ", ".join(table.model for table in options.named_teachers.values())
        _say(f"crossdistill {__version__} distils {model['path']} under {teachers}, objective {options.objective}")

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, float]]:
        """A batch of responses, and metrics.

        Raises:
            InputError, TeacherError, LowCoverageError: what went wrong with a response, or with too many of them.
            ResponseError: every response failed inside of verl, or one by a fault of the plug-in.
        """
        batch, metrics = self._whole_batch(global_steps, partition_id, batch_size)
        is_validation = partition_id == "val"
        step = global_steps if is_validation else global_steps - 1
        if (checkpoint := self.checkpoints.begin(step)) is not None:
            self.watch.load(checkpoint)
        records = _records(batch)
        try:
            if is_validation:
                return self._validated(batch, records, step), metrics
            metrics = {**metrics, **self.watch.see(records, step)}
        except (TeacherError, LowCoverageError) as error:
            raise type(error)(f"{error} {self.checkpoints.save(step)}") from None
        self.checkpoints.note_draw()
        failed = batch_size * self._num_sessions - len({key.rsplit("_", 1)[0] for key in batch.keys})
        if failed:
            _say(f"step {global_steps}: {failed} responses failed inside of verl, whose log has the traceback.")
        return batch, {**metrics, f"{PREFIX}failed_responses": float(failed)}

    def _whole_batch(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, float]]:
        try:
            batch, metrics = super().sample(global_steps, partition_id, batch_size)
        except RuntimeError as error:
            if _NO_RESPONSE not in str(error):
                raise
            raise ResponseError(_ALL_FAILED) from error
        if not batch.keys:
            raise ResponseError(_ALL_FAILED)
        return batch, metrics

    def _validated(self, batch: Any, records: Sequence[Record], step: int) -> Any:
        """The responses of a validation, without those whose reward would be that of no gap because they have none."""
        raise_first(records)
        if self._options.validation == "reward":
            return batch
        is_kept = [record.is_supervised for record in records]
        if not any(is_kept):
            raise LowCoverageError(_NO_GAP.format(step=step))
        if all(is_kept):
            return batch
        left_out = [key for key, kept in zip(batch.keys, is_kept, strict=True) if not kept]
        _say(
            f"validation after step {step}: the teacher supervises no token of {len(left_out)} of {len(is_kept)} "
            "responses, which are no part of its mean."
        )
        tq.kv_clear(keys=left_out, partition_id=batch.partition_id)
        keys, tags = (
            [one for one, kept in zip(column, is_kept, strict=True) if kept] for column in (batch.keys, batch.tags)
        )
        return replace(batch, keys=keys, tags=tags)


class SaveWatch(CheckpointCallback):
    """Puts the watchdog's state into verl's checkpoints."""

    def on_save(self, trainer: Any, global_step: int, checkpoint_dir: str, **kwargs: Any) -> None:
        """After verl has saved a checkpoint."""
        trainer.replay_buffer.watch.save(Path(checkpoint_dir))
        trainer.replay_buffer.checkpoints.note_saved(global_step)


_NO_GAP = (
    "the teacher supervises no token of the validation after step {step}, so there is no gap to measure: see "
    "`crossdistill inspect` for the pair, and the teacher's log."
)
_NO_RESPONSE = "no materializable trajectories"
"""Of verl's own error."""
_ALL_FAILED = (
    "every response failed inside of verl's agent loop: its log has the traceback above, after 'Error in _run_prompt'."
)


def _records(batch: Any) -> Sequence[Record]:
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["extra_fields"])
    return [Record.of_response(getattr(fields, "data", fields)) for fields in list(data["extra_fields"])]


def _say(message: str) -> None:
    print(message, flush=True)  # verl's log of the driver is its output
