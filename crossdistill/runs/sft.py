"""A run of SFT, from its configuration to its report, on TRL's SFTTrainer."""

import json
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import set_seed
from trl import SFTConfig

from crossdistill.chat import ensure_template
from crossdistill.costs import Part
from crossdistill.errors import InputError
from crossdistill.findings import FindingLog
from crossdistill.flops import ModelFlops
from crossdistill.inspection.model_files import config_of, vocab_size
from crossdistill.phases import phase
from crossdistill.report.card.card import write_card
from crossdistill.report.versions import versions
from crossdistill.runs.accuracy import accuracy_curves
from crossdistill.runs.before import EvaluationBefore
from crossdistill.runs.card_facts import facts_of_run
from crossdistill.runs.config import SFTRunConfig, build
from crossdistill.runs.during import EvaluationDuring
from crossdistill.runs.finished import check_goes_on
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.forecast import without_weights
from crossdistill.runs.header import sft_header
from crossdistill.runs.held_out import held_out, trained_on
from crossdistill.runs.held_out_loss import HELD_OUT_LOSS, held_out_loss
from crossdistill.runs.identity import identity
from crossdistill.runs.interrupt import Interrupted, StopOnSignal
from crossdistill.runs.last_step import LogLastStep
from crossdistill.runs.logs import end_logs, keep_logs, reopen_logs
from crossdistill.runs.meter import SFTMeter
from crossdistill.runs.packing import check_apart, check_packing_strategy
from crossdistill.runs.resumable_sft import ResumableSFTTrainer
from crossdistill.runs.run_file import write_json
from crossdistill.runs.settings import device, settings
from crossdistill.runs.sft_data import eval_source, reader_of, row_source
from crossdistill.runs.sft_examples import ExampleMaker, Examples, Learning
from crossdistill.runs.sft_rows import SFTRows
from crossdistill.runs.shown import show_training
from crossdistill.runs.terminal import Terminal
from crossdistill.runs.train import lora_config, write_report_if_possible
from crossdistill.tokens import ByteVocab
from crossdistill.train.cards import name_of
from crossdistill.train.config import check_training
from crossdistill.train.loading import student_for_trl, student_options
from crossdistill.train.monitor.progress_bar import ProgressBar, use_progress_bar
from crossdistill.train.monitor.usage import Usage
from crossdistill.train.preflight.device import cpu_options, device_findings
from crossdistill.train.preflight.launch import check_together, engine_findings
from crossdistill.train.preflight.packages import check_packages, version_findings
from crossdistill.train.preflight.schedule import schedule_findings
from crossdistill.train.preflight.setup import setting_up
from crossdistill.train.preflight.tokenizers import load_tokenizer
from crossdistill.train.preflight.trainable import trainable_findings
from crossdistill.train.preflight.weights import check_weights
from crossdistill.train.resumable import ending_together
from crossdistill.train.unsupported import UNSUPPORTED_IN_SFT, check_unsupported

_OF_EXAMPLES = ("assistant_only_loss", "completion_only_loss")
"""Fields of ``trl.SFTConfig`` that the examples' labels follow; TRL would look for columns that are labels by now."""


def sft(config: SFTRunConfig, output: Path, resume: bool = False, terminal: Terminal | None = None) -> dict[str, Any]:
    """Fine-tune a student, and write OUTPUT/model, run.json, report.html and, with a teacher, responses.jsonl.

    Args:
        config: of the run.
        output: folder to write; new or empty, unless resumed.
        resume: whether to continue the run in `output`.
        terminal: shows training; the trainer's own progress bar by default.

    Returns:
        The content of run.json.

    Raises:
        InputError: bad input; found before weights are read if that is possible.
        Interrupted: after SIGINT or SIGTERM, with a checkpoint.
        OutOfSpaceError: a disk is full; what was saved before is whole.
    """
    folder = RunFolder(output)
    processes = PartialState()
    findings = FindingLog(is_emitter=processes.is_main_process)
    findings.add_all(version_findings())
    phase("reading the data")
    source, held_out_source = row_source(config), eval_source(config)
    tokenizer = load_tokenizer(config.student, "student", log=findings)
    vocab = ByteVocab.from_tokenizer(tokenizer, vocab_size(config.student), config.text_tokens)
    if processes.is_main_process:
        folder.check(identity(config), resume)
    arguments = sft_arguments(folder.checkpoints, config.train)
    findings.add_all(device_findings(config.train, arguments.mixed_precision))
    reader = reader_of(config.student, "student", tokenizer, text_tokens=config.text_tokens)
    for one in filter(None, (source, held_out_source)):
        one.check(reader, findings)
    tasks = held_out(config.eval_tasks, arguments)
    check_weights("student", config.student, student_options(arguments))
    rows = source.rows(folder, arguments.seed, findings)
    eval_rows = None if held_out_source is None else held_out_source.rows(folder, arguments.seed, findings)
    written = source.teacher_lengths(folder, arguments.seed)
    findings.add_all(trained_on(tasks, {"prompt": [prompt for _, prompt in rows.prompts()]}))
    phase("preparing the examples")
    parts = tokenizer, vocab, rows, folder.checkpoints, config.train, config.lora, findings
    trainer = sft_trainer(config.student, *parts, text_tokens=config.text_tokens, eval_rows=eval_rows)
    checkpoint = folder.latest_checkpoint(trainer.checkpoint_contents, findings) if resume else None
    if resume:
        check_goes_on(folder, checkpoint)
    if terminal is not None:
        show_training(trainer, terminal, partial(sft_header, trainer, config, output))
    if processes.is_main_process:
        folder.claim(identity(config))
        keep_logs(trainer, folder, checkpoint)
    teachers = {} if config.teacher is None else {"teacher": config.teacher}
    trainer.about_run = lambda: {"teachers": teachers, **facts_of_run(folder, config)}
    stop = StopOnSignal()
    if eval_rows is not None and (checkpoint is None or not folder.before.exists()):
        trainer.add_callback(EvaluationBefore(trainer, folder, stop, held_out_loss))
    meter = SFTMeter(trainer, 0 if config.teacher is None else writer_of(config.teacher).forward(written))
    during = EvaluationDuring(trainer, meter, tasks, folder, stop, config)
    trainer.add_callback(LogLastStep())
    trainer.add_callback(during)
    trainer.add_callback(stop)
    with stop:
        trainer.train(resume_from_checkpoint=checkpoint)
        during.finish()
    if stop.received is not None:
        raise Interrupted(stop.received, trainer.state.global_step)
    reopen_logs(trainer)
    phase("saving the model")
    trainer.save_model(str(folder.model))
    return _finish(folder, trainer, config, written)


def _finish(
    folder: RunFolder, trainer: ResumableSFTTrainer, config: SFTRunConfig, written: Sequence[int]
) -> dict[str, Any]:
    run: dict[str, Any] = {
        "student": config.student,
        "teacher": config.teacher,
        "seed": trainer.args.seed,
        "versions": versions(),
        "device": device(trainer.accelerator),
        "config": config.model_dump(mode="json"),
        "arguments": settings(config, trainer.args, config.train),
        "num_examples": trainer.data["training"]["used"],
        "data": trainer.data,
        **spent(trainer, config.teacher, written),
        "findings": trainer.findings.as_list(),
    }
    if trainer.eval_dataset is not None:
        run["metric"] = HELD_OUT_LOSS
        run["metrics"] = {"before": json.loads(folder.before.read_text()), "after": held_out_loss(trainer)}
    if config.eval_tasks:
        run["accuracy"] = accuracy_curves(folder)
    run["history"] = trainer.state.log_history
    facts = trainer.card_facts()
    with ending_together(folder.path):
        if trainer.accelerator.is_main_process:
            phase("writing the report")
            end_logs(trainer)
            write_json(folder.run, run)
            write_card(folder.model, {**facts, **run})
            write_report_if_possible(folder, run, [])
    return run


def writer_of(teacher: str) -> ModelFlops:
    """What the teacher that wrote the responses computes."""
    return ModelFlops.of(without_weights("teacher", teacher))


def spent(trainer: ResumableSFTTrainer, teacher: str | None, written: Sequence[int]) -> dict[str, Any]:
    """What a run has cost, as in ``run.json``. Every process must call it.

    Args:
        trainer: of the run.
        teacher: that wrote the responses; None if the data set holds them.
        written: tokens of each prompt and response that it wrote.
    """
    usage, costs = trainer.usage, trainer.usage.total()
    assumptions = [f"the student: {text}" for text in usage.costs.student.assumptions]
    if teacher is None:
        assumptions.append("the data set holds the responses: what it cost to write them is not counted")
    else:
        writer = writer_of(teacher)
        costs.costs.add(Part.TEACHER_ROLLOUT, written, writer)
        assumptions += [f"the teacher: {text}" for text in writer.assumptions]
    entries = costs.as_dict()
    kept = {name: entries[name] for name in ("data_points", "tokens", "flops", "seconds")}
    return {**kept, "flops_assumptions": assumptions}


def sft_trainer(
    student: Any,
    tokenizer: Any,
    vocab: ByteVocab,
    rows: Any,
    checkpoints: Path,
    options: dict[str, Any],
    lora: dict[str, Any] | None = None,
    findings: FindingLog | None = None,
    text_tokens: Collection[str] = (),
    eval_rows: SFTRows | None = None,
) -> ResumableSFTTrainer:
    """An SFTTrainer whose examples are made by :class:`crossdistill.runs.sft_examples.ExampleMaker`.

    Args:
        student: a folder, a hub id or a model.
        tokenizer: the student's.
        vocab: the student's.
        rows: a ``datasets.Dataset`` with answers in any format, or what was read of one.
        checkpoints: folder to write checkpoints to.
        options: fields of ``trl.SFTConfig``.
        lora: fields of ``peft.LoraConfig``, to train an adapter.
        findings: takes up what is found in the rows.
        text_tokens: special tokens that are words of a response, as for `vocab`.
        eval_rows: held-out rows.

    Raises:
        InputError: settings that cannot work, answers that teach what nobody wants, or no row that can be used.
    """
    ensure_template(tokenizer)
    findings = findings or FindingLog()
    arguments = sft_arguments(checkpoints, options)
    context = getattr(config_of(student), "max_position_embeddings", None)
    limit = min(filter(None, (arguments.max_length, context)), default=None)
    learning = learning_of(options)
    read = {"training": rows if isinstance(rows, SFTRows) else SFTRows.of(rows), "evaluation": eval_rows}
    made = {
        name: Examples.of(one, ExampleMaker(tokenizer, vocab, learning, text_tokens), learning, limit)
        for name, one in read.items()
        if one is not None
    }
    for examples in made.values():
        findings.add_all(examples.findings)
    set_seed(arguments.seed)
    dataset = made["training"].dataset
    with setting_up(), student_for_trl(student, arguments) as model:
        check_has_backbone(model["model"])
        trainer = ResumableSFTTrainer(
            **model,
            args=arguments,
            train_dataset=dataset,
            eval_dataset=made["evaluation"].dataset if "evaluation" in made else None,
            processing_class=tokenizer,
            peft_config=lora_config(lora),
        )
    use_progress_bar(trainer, ProgressBar())
    trainer.findings, trainer.student_name = findings, name_of(student)
    trainer.data = {name: examples.entry for name, examples in made.items()}
    trainer.usage = Usage(ModelFlops.of(trainer.model), {}, is_main_process=trainer.accelerator.is_main_process)
    trainer.findings.add_all(engine_findings(trainer.accelerator.distributed_type))
    trainer.findings.add_all(schedule_findings(arguments, len(dataset)))
    is_sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    trainer.findings.add_all(trainable_findings(trainer.model, arguments, is_sharded))
    if trainer.padding_free:
        check_apart(trainer.model, trainer.data_collator, dataset[0]["input_ids"])
    return trainer


def learning_of(options: Mapping[str, Any]) -> Learning:
    """What is learnt under fields of ``trl.SFTConfig``.

    Example:
        >>> learning_of({"assistant_only_loss": True})
        Learning(completion_only=True, assistant_only=True)
    """
    completion_only = options.get("completion_only_loss")
    return Learning(completion_only is not False, bool(options.get("assistant_only_loss")))


def check_has_backbone(student: Any) -> None:
    """Check that the student has a part without its head, on which TRL computes the loss.

    Args:
        student: a model.

    Raises:
        InputError: it has none, as Llama 4 with its vision tower.
    """
    if student.base_model is student:
        raise InputError(
            f"{type(student).__name__} has no part without its head, which TRL's SFT needs: train it with "
            "`crossdistill train` alone, or fine-tune another student."
        )


def sft_arguments(checkpoints: Path, options: dict[str, Any]) -> SFTConfig:
    """The configuration of an SFTTrainer.

    Args:
        checkpoints: folder to write checkpoints to.
        options: fields that override the defaults.

    Raises:
        InputError: settings that cannot work, or processes that would each train by themselves.
    """
    # TRL turns checkpointing on under the old name, about which transformers warns
    checkpointing = options.get("gradient_checkpointing", True)
    # TRL's own max_length would silently cut examples, with their stop token; packing needs a length
    uncut = {"eval_packing": False} if options.get("packing") else {"max_length": None}
    defaults = {
        **uncut,
        "report_to": "none",
        "activation_checkpointing": checkpointing,
        "gradient_checkpointing": None,
    }
    check_packages(options)
    given = {name: value for name, value in options.items() if name not in _OF_EXAMPLES}
    arguments = build(SFTConfig, "train", {"output_dir": str(checkpoints), **defaults, **given, **cpu_options(options)})
    check_unsupported(arguments, UNSUPPORTED_IN_SFT)
    check_training(arguments)
    check_together(arguments.world_size)
    check_packing_strategy(arguments)
    return arguments
