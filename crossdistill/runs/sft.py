"""The SFT warm start, on TRL's SFTTrainer."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import set_seed
from trl import SFTConfig

from crossdistill.chat import ensure_template, render_prompt
from crossdistill.chat.stop import taught_stop
from crossdistill.costs import Part
from crossdistill.errors import InputError
from crossdistill.findings import FindingLog
from crossdistill.flops import ModelFlops
from crossdistill.inspection.model_files import config_of, vocab_size
from crossdistill.report.card.card import write_card
from crossdistill.report.versions import versions
from crossdistill.runs.accuracy import accuracy_curves
from crossdistill.runs.card_facts import facts_of_run
from crossdistill.runs.config import SFTRunConfig, build
from crossdistill.runs.during import EvaluationDuring
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.forecast import without_weights
from crossdistill.runs.held_out import held_out, trained_on
from crossdistill.runs.interrupt import Interrupted, StopOnSignal
from crossdistill.runs.meter import SFTMeter
from crossdistill.runs.packing import check_apart, check_packing_strategy
from crossdistill.runs.resumable_sft import ResumableSFTTrainer
from crossdistill.runs.run_file import write_json
from crossdistill.runs.sft_data import reader_of, row_source
from crossdistill.runs.train import lora_config
from crossdistill.tokens import ByteVocab
from crossdistill.train.cards import name_of
from crossdistill.train.completions import Completions
from crossdistill.train.config import check_training
from crossdistill.train.loading import student_for_trl, student_options
from crossdistill.train.monitor.progress_bar import ProgressBar, use_progress_bar
from crossdistill.train.monitor.usage import Usage
from crossdistill.train.preflight.device import cpu_options, device_findings
from crossdistill.train.preflight.launch import check_together, engine_findings
from crossdistill.train.preflight.schedule import schedule_findings
from crossdistill.train.preflight.setup import setting_up
from crossdistill.train.preflight.tokenizers import load_tokenizer
from crossdistill.train.preflight.trainable import trainable_findings
from crossdistill.train.preflight.weights import check_weights
from crossdistill.train.resumable import ending_together
from crossdistill.train.unsupported import UNSUPPORTED_IN_SFT, check_unsupported

IGNORED = -100  # label that torch's cross-entropy ignores


def sft(config: SFTRunConfig, output: Path, resume: bool = False) -> dict[str, Any]:
    """Fine-tune a student, and write OUTPUT/model, run.json and, with a teacher, responses.jsonl.

    Args:
        config: of the run.
        output: folder to write; new or empty, unless resumed.
        resume: whether to continue the run in `output`.

    Returns:
        The content of run.json.

    Raises:
        InputError: bad input; found before weights are read if that is possible.
        Interrupted: after SIGINT or SIGTERM, with a checkpoint.
        OutOfSpaceError: a disk is full; what was saved before is whole.
    """
    folder, identity = RunFolder(output), config.model_dump(mode="json")
    processes = PartialState()
    findings = FindingLog(is_emitter=processes.is_main_process)
    source = row_source(config)
    tokenizer = load_tokenizer(config.student, "student", log=findings)
    vocab = ByteVocab.from_tokenizer(tokenizer, vocab_size(config.student), config.text_tokens)
    if processes.is_main_process:
        folder.check(identity, resume)
    arguments = sft_arguments(folder.checkpoints, config.train)
    findings.add_all(device_findings(config.train, arguments.mixed_precision))
    source.check(reader_of(config.student, "student", tokenizer, text_tokens=config.text_tokens), findings)
    tasks = held_out(config.eval_tasks, arguments)
    check_weights("student", config.student, student_options(arguments))
    rows = source.rows(folder, arguments.seed, findings)
    written = source.teacher_lengths(folder, arguments.seed)
    findings.add_all(trained_on(tasks, rows))
    parts = tokenizer, vocab, rows, folder.checkpoints, config.train, config.lora, findings
    trainer = sft_trainer(config.student, *parts, text_tokens=config.text_tokens)
    if processes.is_main_process:
        folder.claim(identity)
    teachers = {} if config.teacher is None else {"teacher": config.teacher}
    trainer.about_run = lambda: {"teachers": teachers, **facts_of_run(folder, config)}
    stop = StopOnSignal()
    meter = SFTMeter(trainer, 0 if config.teacher is None else writer_of(config.teacher).forward(written))
    during = EvaluationDuring(trainer, meter, tasks, folder, stop, config)
    trainer.add_callback(during)
    trainer.add_callback(stop)
    checkpoint = folder.latest_checkpoint(trainer.checkpoint_contents, findings) if resume else None
    with stop:
        trainer.train(resume_from_checkpoint=checkpoint)
        during.finish()
    if stop.received is not None:
        raise Interrupted(stop.received, trainer.state.global_step)
    trainer.save_model(str(folder.model))
    run: dict[str, Any] = {
        "student": config.student,
        "teacher": config.teacher,
        "seed": trainer.args.seed,
        "versions": versions(),
        "config": identity,
        "num_examples": len(rows),
        **spent(trainer, config.teacher, written),
        "findings": trainer.findings.as_list(),
        "history": trainer.state.log_history,
    }
    if config.eval_tasks:
        run["accuracy"] = accuracy_curves(folder)
    facts = trainer.card_facts()
    with ending_together(output):
        if processes.is_main_process:
            write_json(folder.run, run)
            write_card(folder.model, {**facts, **run})
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
) -> ResumableSFTTrainer:
    """An SFTTrainer whose examples are tokenised like rollouts: prompt and response separately, then the stop token.

    Args:
        student: a folder, a hub id or a model.
        tokenizer: the student's.
        vocab: the student's.
        rows: a ``datasets.Dataset`` with ``prompt`` and ``completion``.
        checkpoints: folder to write checkpoints to.
        options: fields of ``trl.SFTConfig``.
        lora: fields of ``peft.LoraConfig``, to train an adapter.
        findings: takes up what is found in the completions.
        text_tokens: special tokens that are words of a response, as for `vocab`.

    Raises:
        InputError: settings that cannot work, completions that teach what nobody wants, or an example that does not
            fit the student's context.
    """
    ensure_template(tokenizer)
    stop = taught_stop(tokenizer)
    completions = Completions(tokenizer, text_tokens=text_tokens)
    texts = [completions.read(completion) for completion in rows["completion"]]
    findings = findings or FindingLog()
    findings.add_all(completions.findings())
    dataset = rows.map(
        lambda row, number: sft_example(tokenizer, vocab, row["prompt"], texts[number], stop),
        with_indices=True,
        remove_columns=rows.column_names,
        load_from_cache_file=False,
    )
    arguments = sft_arguments(checkpoints, options)
    context = getattr(config_of(student), "max_position_embeddings", None)
    check_fits(dataset, min(filter(None, (arguments.max_length, context)), default=None))
    set_seed(arguments.seed)
    with setting_up(), student_for_trl(student, arguments) as model:
        check_has_backbone(model["model"])
        trainer = ResumableSFTTrainer(
            **model, args=arguments, train_dataset=dataset, processing_class=tokenizer, peft_config=lora_config(lora)
        )
    use_progress_bar(trainer, ProgressBar())
    trainer.findings, trainer.student_name = findings, name_of(student)
    trainer.usage = Usage(ModelFlops.of(trainer.model), {}, is_main_process=trainer.accelerator.is_main_process)
    trainer.findings.add_all(engine_findings(trainer.accelerator.distributed_type))
    trainer.findings.add_all(schedule_findings(arguments, len(dataset)))
    is_sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    trainer.findings.add_all(trainable_findings(trainer.model, arguments, is_sharded))
    if trainer.padding_free:
        check_apart(trainer.model, trainer.data_collator, dataset[0]["input_ids"])
    return trainer


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
    uncut = {} if options.get("packing") else {"max_length": None}
    defaults = {
        **uncut,
        "report_to": "none",
        "activation_checkpointing": checkpointing,
        "gradient_checkpointing": None,
    }
    arguments = build(
        SFTConfig, "train", {"output_dir": str(checkpoints), **defaults, **options, **cpu_options(options)}
    )
    check_unsupported(arguments, UNSUPPORTED_IN_SFT)
    check_training(arguments)
    check_together(arguments.world_size)
    check_packing_strategy(arguments)
    return arguments


def check_fits(examples: Any, limit: int | None) -> None:
    """Check the length of every example, because a truncated one would teach the student never to stop.

    Args:
        examples: a ``datasets.Dataset`` with ``input_ids``.
        limit: in tokens; None if there is none.

    Raises:
        InputError: an example is longer; the message names the first.
    """
    for row, ids in enumerate(examples["input_ids"] if limit is not None else []):
        if len(ids) > limit:  # type: ignore[operator]  # never reached without a limit
            raise InputError(
                f"row {row} has {len(ids)} tokens, and the student's context or max_length is {limit}: leave it out, "
                "or raise the limit."
            )


def sft_example(tokenizer: Any, vocab: ByteVocab, prompt: Any, completion: str, stop: int) -> dict[str, list[int]]:
    """``input_ids`` and ``labels`` of one example; the labels of the prompt are IGNORED.

    Args:
        tokenizer: the student's; renders the prompt.
        vocab: the student's; encodes the completion.
        prompt: a text or messages.
        completion: a text.
        stop: token id that ends the response.
    """
    prompt_ids = render_prompt(tokenizer, prompt)
    response = [*vocab.encode(completion).ids.tolist(), stop]
    return {"input_ids": prompt_ids + response, "labels": [IGNORED] * len(prompt_ids) + response}
