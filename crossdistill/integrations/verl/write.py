"""Writes what a run file becomes: verl's configuration, and the prompts in its form."""

from pathlib import Path
from typing import Any

import yaml

from crossdistill.chat import ensure_template
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill.routing import COLUMN
from crossdistill.inspection.model_files import read_tokenizer
from crossdistill.integrations.verl.data import longest_prompt, write_prompts
from crossdistill.integrations.verl.run_file import Launch, arguments_of, nested, verl_settings
from crossdistill.runs.config import RunConfig
from crossdistill.runs.data import load_rows

CONFIG = "verl.yaml"


def write_config(config: RunConfig, output: Path, gpus: int = 8, nodes: int = 1, engine: str = "vllm") -> list[str]:
    """Write OUTPUT/verl.yaml, train.parquet and, with an evaluation, eval.parquet.

    Args:
        config: the run file.
        output: folder; made if it is not there.
        gpus: of each node.
        nodes: machines.
        engine: that samples.

    Returns:
        The command that launches verl.

    Raises:
        InputError: a setting that verl cannot honour, or data that it cannot read.
    """
    args = arguments_of(config)
    placeholder = Launch(str(output), "train.parquet", None, 2**62, 1, gpus, nodes, engine)
    verl_settings(config, placeholder)  # refuses what it must before data is read
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
    settings = nested(verl_settings(config, launch))
    header = {"hydra": {"searchpath": ["pkg://verl.trainer.config"]}, "defaults": ["ppo_trainer", "_self_"]}
    text = yaml.safe_dump({**header, **settings}, sort_keys=False, allow_unicode=True)
    (output / CONFIG).write_text(text, encoding="utf-8")
    return ["crossdistill", "verl-run", "--config-path", folder, "--config-name", "verl"]


def _prompts(config: RunConfig, args: Any, path: Path) -> tuple[list[Any], str]:
    is_train = path.stem == "train"
    source = config.dataset if is_train else config.eval_dataset or ""
    split = config.dataset_split if is_train else config.eval_split
    rows = load_rows(source, split, config.dataset_name, {"prompt": config.prompt_column})
    if not is_train and config.eval_rows is not None:
        rows = rows.select(range(min(config.eval_rows, len(rows))))
    kept = [name for name in ("prompt", "answer", COLUMN) if name in rows.column_names]
    return write_prompts(rows.select_columns(kept), path), str(path.resolve())
