"""Writes what a run file becomes: verl's configuration, and the prompts in its form."""

from pathlib import Path
from typing import Any

import yaml

from crossdistill.chat import ensure_template
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill.routing import COLUMN
from crossdistill.errors import InputError
from crossdistill.inspection.model_files import read_tokenizer
from crossdistill.integrations.verl.data import longest_prompt, write_prompts
from crossdistill.integrations.verl.dropout import dropout_settings
from crossdistill.integrations.verl.run_file import Launch, arguments_of, nested, verl_settings
from crossdistill.runs.config import RunConfig
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.identity import identity
from crossdistill.runs.run_file import write_json
from crossdistill.runs.train import load_prompts

CONFIG = "verl.yaml"


def write_config(config: RunConfig, output: Path, gpus: int = 8, nodes: int = 1, engine: str = "vllm") -> list[str]:
    """Write OUTPUT/verl.yaml, train.parquet, with an evaluation eval.parquet, and config.json, which names the run.

    Args:
        config: the run file.
        output: folder; made if it is not there.
        gpus: of each node.
        nodes: machines.
        engine: that samples.

    Returns:
        The command that launches verl.

    Raises:
        InputError: a setting that verl cannot honour, data that cannot be read, or a folder with the checkpoints of
            another run, from which verl would go on.
    """
    args = arguments_of(config)
    placeholder = Launch(str(output), "train.parquet", None, 2**62, 1, gpus, nodes, engine)
    verl_settings(config, placeholder)  # refuses what it must before data is read
    quiet = dropout_settings(config.student)
    entry = {**identity(config), "gpus": gpus, "nodes": nodes}
    _check_folder(output, entry)
    output.mkdir(parents=True, exist_ok=True)
    prompts, train = _prompts(config, args, output / "train.parquet")
    longest, evaluated = prompts, None
    if config.eval_dataset is not None:
        more, evaluated = _prompts(config, args, output / "eval.parquet")
        longest = [*prompts, *more]
    tokenizer = read_tokenizer(config.student)
    ensure_template(tokenizer)
    render = PromptRenderer(tokenizer, dict(args.chat_template_kwargs or {}), []).render
    longest_tokens = longest_prompt(longest, render)
    folder = str(output.resolve())
    launch = Launch(folder, train, evaluated, len(prompts), longest_tokens, gpus, nodes, engine)
    settings = nested({**verl_settings(config, launch), **quiet})
    header = {"hydra": {"searchpath": ["pkg://verl.trainer.config"]}, "defaults": ["ppo_trainer", "_self_"]}
    text = yaml.safe_dump({**header, **settings}, sort_keys=False, allow_unicode=True)
    (output / CONFIG).write_text(text, encoding="utf-8")
    write_json(RunFolder(output).config, entry)
    return ["crossdistill", "verl-run", "--config-path", folder, "--config-name", "verl"]


def _check_folder(output: Path, entry: dict[str, Any]) -> None:
    """Check that a run goes on from no checkpoint but its own."""
    folder = RunFolder(output)
    if not any(folder.checkpoints.glob("global_step_*")):
        return
    if not folder.config.exists():
        raise InputError(
            f"{folder.checkpoints} holds checkpoints, and no {folder.config.name} says of which run: name a new folder."
        )
    folder.check(entry, resume=True)


def _prompts(config: RunConfig, args: Any, path: Path) -> tuple[list[Any], str]:
    is_train = path.stem == "train"
    source = config.dataset if is_train else config.eval_dataset or ""
    split = config.dataset_split if is_train else config.eval_split
    rows = load_prompts(config, source, split)
    if not is_train and config.eval_rows is not None:
        rows = rows.select(range(min(config.eval_rows, len(rows))))
    kept = [name for name in ("prompt", "answer", COLUMN) if name in rows.column_names]
    return write_prompts(rows.select_columns(kept), path), str(path.resolve())
