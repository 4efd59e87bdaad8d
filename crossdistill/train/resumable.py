"""A trainer of transformers that goes on from whole checkpoints only, and leaves none that is not.

Overridden of transformers (pinned by tests/train/test_trl_contract.py): ``train``, ``_run_epoch``, ``evaluate``,
``log``, ``save_model``, ``_save`` (keeps the generation defaults), ``_save_checkpoint``, ``_save_rng_state``,
``_load_from_checkpoint`` and ``_load_best_model``.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate.utils import is_peft_model
from torch import Tensor
from torch.distributed.fsdp import StateDictType
from transformers import PreTrainedModel, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import TrainOutput

from crossdistill.errors import InputError, OutOfSpaceError
from crossdistill.findings import FindingLog
from crossdistill.space import telling_out_of_space
from crossdistill.teachers.generation_defaults import defaults_kept
from crossdistill.train.cards import CardTrainer
from crossdistill.train.checkpoint import PROCESSES_FILE, Contents, checkpoint_to_resume
from crossdistill.train.engine_state import EngineState
from crossdistill.train.fsdp_state import FSDPState
from crossdistill.train.preflight.schedule import longer_findings
from crossdistill.train.restoring import check_adapter, restore
from crossdistill.train.together import raised_on_all
from crossdistill.train.zero_state import ZeroState


class ResumableTrainer(CardTrainer):
    """Mixed into a trainer of TRL, in front of it.

    If a disk is full, all processes raise OutOfSpaceError; what was half-written is removed, older checkpoints stay.

    Attributes:
        findings: receives warnings.
        last_saved_step: of which this trainer has saved a checkpoint; None so far.
    """

    findings: FindingLog
    last_saved_step: int | None = None

    @property
    def checkpoint_contents(self) -> Contents:
        """What each checkpoint of this run holds."""
        return Contents(self.args.world_size, has_optimizer=not self.args.save_only_model, engine=self._engine_state)

    @property
    def _engine_state(self) -> EngineState | None:
        """How FSDP or DeepSpeed write the state of this run; None without either."""
        if self.is_fsdp_enabled:
            return FSDPState(self._saves_shards)
        if not self.is_deepspeed_enabled:
            return None
        plugin = self.accelerator.state.deepspeed_plugin
        is_bf16 = bool(plugin.deepspeed_config.get("bf16", {}).get("enabled"))
        return ZeroState(self.args.world_size, has_parts_of_weights=plugin.zero_stage == 3, is_bf16=is_bf16)

    def train(self, resume_from_checkpoint: str | Path | bool | None = None, **kwargs: Any) -> Any:
        """As transformers' `train`.

        Args:
            resume_from_checkpoint: path of a checkpoint, or True for the newest whole one.
            **kwargs: as transformers'.

        Raises:
            InputError: the checkpoint is not whole, or there is none.
            FindingError: weights are not finite, from the start or after a step.
            OutOfSpaceError: a disk is full.
        """
        checkpoint, self.steps_before = self._checkpoint_to_resume(resume_from_checkpoint), 0
        if checkpoint is None and not self._is_sharded:  # a sharded model has its weights only after it is prepared
            self.check_loaded()
        if checkpoint is not None:
            state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
            self.steps_before = state.global_step
            self.findings.add_all(longer_findings(self.args, state))
            if self._is_over(state):
                return self._as_it_ended(str(checkpoint), state)
        return self._train(checkpoint, **kwargs)

    def _train(self, checkpoint: Path | None, **kwargs: Any) -> Any:
        with ending_together(Path(self.args.output_dir)):
            return super().train(None if checkpoint is None else str(checkpoint), **kwargs)

    def _is_over(self, state: TrainerState) -> bool:
        """Whether no step is left after a checkpoint's: transformers would make one more."""
        if self.args.max_steps <= 0 and self.args.num_train_epochs != state.num_train_epochs:
            return False
        steps = self.args.max_steps if self.args.max_steps > 0 else state.max_steps
        return state.global_step >= steps

    def _as_it_ended(self, checkpoint: str, state: TrainerState) -> TrainOutput:
        if self._is_sharded:  # the engine loads its checkpoints as training begins
            self._train(Path(checkpoint))
        else:
            self._load_from_checkpoint(checkpoint)
        self._load_rng_state(checkpoint)
        self.state = state
        return TrainOutput(self.state.global_step, 0.0, {})

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **kwargs)

    def _checkpoint_to_resume(self, wanted: str | Path | bool | None) -> Path | None:
        return checkpoint_to_resume(wanted, Path(self.args.output_dir), self.checkpoint_contents, self.findings)

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        """As transformers' `evaluate`.

        Raises:
            InputError: an engine that shards the weights does so as training begins, and it has not begun.
        """
        self._check_taken_over("be evaluated", "evaluate after train(), or set eval_on_start = true")
        return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)

    def _check_taken_over(self, what: str, way_out: str) -> None:
        if self._is_sharded and not self.accelerator._models:
            raise InputError(
                f"FSDP and DeepSpeed take the student over as training begins, so it cannot {what} before: {way_out}."
            )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        with ending_together(Path(self.args.output_dir)):  # loggers and tables of completions write files
            super().log(logs, start_time)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        folder = Path(output_dir or self.args.output_dir)
        is_new = not folder.exists()
        self.prepare_card()
        try:
            with ending_together(folder.parent if _internal_call else folder):
                if not _internal_call:
                    self._save_whole(folder)
                super().save_model(output_dir, _internal_call)
        except OutOfSpaceError:
            self._remove(folder if is_new else None)
            raise

    def _save_whole(self, folder: Path) -> None:
        """The model that can be loaded, although the engine was told to save the parts that each process has."""
        if self._saves_shards:
            self._save(str(folder), self.accelerator.get_state_dict(self.model))
        if self.is_deepspeed_enabled and self.model_wrapped is not self.model:
            self.model_wrapped._config.zero_config.gather_16bit_weights_on_model_save = True

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        model = self.accelerator.unwrap_model(self.model)
        if state_dict is not None:
            state_dict = _without_tied(model, state_dict)
        with defaults_kept(model, Path(output_dir or self.args.output_dir)):
            super()._save(output_dir, state_dict)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        checkpoint = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        self.prepare_card()
        try:
            with ending_together(checkpoint.parent):
                self._save_own_state(checkpoint)
                super()._save_checkpoint(model, trial)
            self.last_saved_step = self.state.global_step
        except OutOfSpaceError:
            self._remove(checkpoint)
            raise

    def _save_own_state(self, checkpoint: Path) -> None:
        """Write what a resumed run needs beyond transformers' files. Every process calls it."""
        if self.accelerator.is_main_process:
            checkpoint.mkdir(parents=True, exist_ok=True)
            (checkpoint / PROCESSES_FILE).write_text(json.dumps({"num_processes": self.args.world_size}))

    def _save_rng_state(self, output_dir: str) -> None:
        with ending_together(Path(self.args.output_dir)):  # of all processes, before an older checkpoint is deleted
            super()._save_rng_state(output_dir)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        student, checkpoint = self.accelerator.unwrap_model(self.model), Path(resume_from_checkpoint)
        if is_peft_model(student):
            check_adapter(student, checkpoint)
        if self._is_plain:
            restore(student, checkpoint)
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.check_loaded(checkpoint)

    def _load_best_model(self) -> None:
        if self._is_plain:
            self._load_from_checkpoint(str(self.state.best_model_checkpoint))
        else:
            super()._load_best_model()

    @property
    def _is_plain(self) -> bool:
        """Whether checkpoints hold the whole model in the layout of transformers."""
        student = self.accelerator.unwrap_model(self.model)
        return isinstance(student, PreTrainedModel) and not (self._is_sharded or is_peft_model(student))

    @property
    def _saves_shards(self) -> bool:
        """Whether each process saves its part of the weights, and transformers no model that can be loaded."""
        plugin = getattr(self.accelerator.state, "fsdp_plugin", None)
        return plugin is not None and plugin.state_dict_type != StateDictType.FULL_STATE_DICT

    @property
    def _is_sharded(self) -> bool:
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _remove(self, folder: Path | None) -> None:
        if folder is not None and self.args.should_save:
            shutil.rmtree(folder, ignore_errors=True)


def _without_tied(model: Any, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each weight once: an engine gathers tied ones apart, which transformers then no longer knows as one."""
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    return {name: weight for name, weight in weights.items() if tied.get(name) not in weights}


@contextmanager
def ending_together(folder: Path) -> Iterator[None]:
    """Raise OutOfSpaceError in all processes if one of them has no room in `folder`."""
    with raised_on_all(OutOfSpaceError), telling_out_of_space(folder):
        yield
