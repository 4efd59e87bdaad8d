"""The SFT warm start, on TRL's SFTTrainer: from given responses or from responses that a teacher writes first."""

import json
from pathlib import Path
from typing import Any

from accelerate import PartialState
from rich.progress import track
from transformers import AutoModelForCausalLM, set_seed
from trl import SFTConfig, SFTTrainer

from crossdistill.chat import ensure_template, render_prompt
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.chat.stop import taught_stop
from crossdistill.errors import InputError
from crossdistill.inspection.model_files import check_pair, config_of, read_tokenizer, reading, vocab_size
from crossdistill.runs.config import SFTRunConfig, build
from crossdistill.runs.data import load_rows
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.interrupt import Interrupted, StopOnSignal
from crossdistill.runs.run_file import versions, write_json
from crossdistill.runs.train import lora_config
from crossdistill.teachers.writing import write_responses
from crossdistill.tokens import ByteVocab
from crossdistill.train.config import check_training
from crossdistill.train.monitor.progress_bar import ProgressBar, use_progress_bar
from crossdistill.train.preflight.data import check_conversations, check_prompt, rows_to_render
from crossdistill.train.preflight.models import check_budget, check_weights, context_of, load_tokenizer
from crossdistill.train.preflight.setup import setting_up

IGNORED = -100  # torch's cross-entropy leaves this label out


def sft(config: SFTRunConfig, output: Path, resume: bool = False) -> dict[str, Any]:
    """Run it and write OUTPUT/model, run.json and, with a teacher, responses.jsonl.

    Returns the content of run.json. Raises InputError for bad input and Interrupted after SIGINT or SIGTERM.
    """
    folder = RunFolder(output)
    columns = {"prompt": config.prompt_column}
    if config.teacher is None:
        columns["completion"] = config.completion_column
    else:
        check_pair(config.student, config.teacher)
    rows = load_rows(config.dataset, config.dataset_split, config.dataset_name, columns)
    check_rows(rows, with_completions=config.teacher is None)
    tokenizer = load_tokenizer(config.student, "student")
    vocab = ByteVocab.from_tokenizer(tokenizer, size=vocab_size(config.student))
    processes = PartialState()
    if processes.is_main_process:
        folder.check(config.model_dump(mode="json"), resume)
    arguments = sft_arguments(folder.checkpoints, config.train)  # what is wrong with them is said now
    if config.teacher is not None:
        teacher_tokenizer = checked_tokenizer(config.teacher, rows, config.max_new_tokens)
    check_weights(config.student)
    if config.teacher is not None:
        check_weights(config.teacher)
        with processes.main_process_first():  # the others find what it wrote
            if processes.is_main_process:
                folder.claim(config.model_dump(mode="json"))
            responses = output / "responses.jsonl"
            rows = teacher_written(config, config.teacher, teacher_tokenizer, rows, responses, arguments.seed)
    trainer = sft_trainer(config.student, tokenizer, vocab, rows, folder.checkpoints, config.train, config.lora)
    if processes.is_main_process:
        folder.claim(config.model_dump(mode="json"))
    stop = StopOnSignal()
    trainer.add_callback(stop)
    checkpoint = folder.latest_checkpoint(processes.num_processes) if resume else None
    with stop:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if stop.received is not None:
        raise Interrupted(stop.received, trainer.state.global_step)
    trainer.save_model(str(folder.model))
    run = {
        "student": config.student,
        "teacher": config.teacher,
        "seed": trainer.args.seed,
        "versions": versions(),
        "config": config.model_dump(mode="json"),
        "num_examples": len(rows),
        "history": trainer.state.log_history,
    }
    if processes.is_main_process:
        write_json(folder.run, run)
    return run


def sft_trainer(
    student: Any,
    tokenizer: Any,
    vocab: ByteVocab,
    rows: Any,
    checkpoints: Path,
    options: dict[str, Any],
    lora: dict[str, Any] | None = None,
) -> SFTTrainer:
    """An SFTTrainer whose examples are tokenised as rollouts are: prompt and response apart, then the stop token.

    student: a folder, a hub id or a model. rows: with ``prompt`` and ``completion``.
    """
    ensure_template(tokenizer)
    stop = taught_stop(tokenizer)
    dataset = rows.map(
        lambda row: sft_example(tokenizer, vocab, row["prompt"], row["completion"], stop),
        remove_columns=rows.column_names,
        load_from_cache_file=False,
    )
    arguments = sft_arguments(checkpoints, options)
    context = getattr(config_of(student), "max_position_embeddings", None)
    check_fits(dataset, min(filter(None, (arguments.max_length, context)), default=None))
    set_seed(arguments.seed)
    with setting_up():
        trainer = SFTTrainer(
            student, args=arguments, train_dataset=dataset, processing_class=tokenizer, peft_config=lora_config(lora)
        )
    use_progress_bar(trainer, ProgressBar())
    return trainer


def sft_arguments(checkpoints: Path, options: dict[str, Any]) -> SFTConfig:
    """The configuration of an SFTTrainer that writes `checkpoints`."""
    # TRL turns checkpointing on under the old name, of which transformers warns
    checkpointing = options.get("gradient_checkpointing", True)
    # TRL's own max_length would cut examples, and their stop token with it, without a word; packing needs one
    uncut = {} if options.get("packing") else {"max_length": None}
    defaults = {
        **uncut,
        "report_to": "none",
        "activation_checkpointing": checkpointing,
        "gradient_checkpointing": None,
    }
    arguments = build(SFTConfig, "train", {"output_dir": str(checkpoints), **defaults, **options})
    check_training(arguments)
    return arguments


def check_rows(rows: Any, with_completions: bool) -> None:
    """Prompts are texts or messages, responses texts; the first that is not is named."""
    for row, prompt in enumerate(rows["prompt"]):
        check_prompt(row, prompt)
    for row, completion in enumerate(rows["completion"] if with_completions else []):
        if not isinstance(completion, str):
            raise InputError(f"the completion of row {row} is {completion!r}: it must be a text (quote numbers).")


def checked_tokenizer(teacher: str, rows: Any, budget: int) -> Any:
    """The teacher's tokenizer; the teacher must read the prompts and have room for `budget` tokens behind each."""
    check_budget(context_of(teacher), budget, "teacher", "max_new_tokens")
    tokenizer = read_tokenizer(teacher)
    ensure_template(tokenizer)
    check_conversations(
        "teacher", PromptRenderer(tokenizer, {}, []), context_of(teacher), rows_to_render([rows]), budget
    )
    return tokenizer


def check_fits(examples: Any, limit: int | None) -> None:
    """No example may be longer than `limit` tokens: a cut one would teach the student never to stop."""
    for row, ids in enumerate(examples["input_ids"] if limit is not None else []):
        if len(ids) > limit:  # type: ignore[operator]  # never reached without a limit
            raise InputError(
                f"row {row} has {len(ids)} tokens, and the student's context or max_length is {limit}: leave it out, "
                "or raise the limit."
            )


def sft_example(tokenizer: Any, vocab: ByteVocab, prompt: Any, completion: str, stop: int) -> dict[str, list[int]]:
    """input_ids and labels of one example; the prompt's labels are ignored."""
    prompt_ids = render_prompt(tokenizer, prompt)
    response = [*vocab.encode(completion).ids.tolist(), stop]
    return {"input_ids": prompt_ids + response, "labels": [IGNORED] * len(prompt_ids) + response}


def teacher_written(config: SFTRunConfig, teacher: str, tokenizer: Any, rows: Any, path: Path, seed: int) -> Any:
    """Responses of the teacher to the prompts in `rows`, appended to `path` batch by batch; resumable.

    Responses that did not end within `max_new_tokens` are kept in the file and left out of the data.
    """
    from datasets import Dataset

    written = read_written(path)
    remaining = rows["prompt"][len(written) :]
    if len(remaining):
        with reading("the weights", teacher):
            model = AutoModelForCausalLM.from_pretrained(teacher).to(PartialState().device).eval()
        budget, sampling = config.max_new_tokens, (config.temperature, config.batch_size, seed, len(written))
        responses = write_responses(model, tokenizer, remaining, budget, *sampling)
        with path.open("a") as file:
            for prompt, response in zip(remaining, track(responses, "the teacher writes", len(remaining)), strict=True):
                row = {"prompt": prompt, "completion": response.text, "stopped": response.stopped}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
                written.append(row)
    finished = [row for row in written if row["stopped"]]
    if not finished:
        raise InputError(
            f"none of the teacher's {len(written)} responses ended within max_new_tokens = {config.max_new_tokens}: "
            "raise it, or use a teacher that ends its turns."
        )
    return Dataset.from_list([{"prompt": row["prompt"], "completion": row["completion"]} for row in finished])


def read_written(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a responses file; a half-written last line (after a kill) is cut off."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        path.write_bytes(whole)
    lines = whole.split(b"\n")[:-1]  # str.splitlines would also cut at U+2028 and the like
    return [json.loads(line) for line in lines]
