"""A reader's folder: the models of the examples by their names, tiny, and the files that pages take for granted."""

import json
from pathlib import Path

from crossdistill.demo.run import asset

MODELS = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": "student",
    "Qwen/Qwen2.5-0.5B-Instruct": "teacher",
    "google/gemma-3-270m": "other_teacher",
    "STUDENT": "student",
    "TEACHER": "teacher",
    "MODEL": "student",
}
"""Hub id or placeholder of the documentation -> the demo's model that stands in for it."""
MESSAGES = [[{"role": "user", "content": f"{number} + 12"}] for number in ("thirty", "forty", "fifty", "sixty")]
PROBLEMS = [{"prompt": prompt, "answer": "42"} for prompt in MESSAGES]
RUN = {"student": "STUDENT", "teacher": "TEACHER", "dataset": "prompts.jsonl"}


def with_models(folder: Path) -> Path:
    """Put the models where their names lead as paths, since a folder goes before a hub id."""
    for name, model in MODELS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(asset(model))
    return folder


def with_files(folder: Path) -> Path:
    """Write prompts, problems, responses, a text and the file of a run that trains an adapter."""
    rows = [{"prompt": prompt, "response": "forty-two"} for prompt in MESSAGES]
    for name, content in {"prompts": PROBLEMS, "problems": PROBLEMS, "rows": rows}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    (folder / "text.bin").write_bytes(b"caf\xc3\xa9 \xff")
    table = "".join(f'{name} = "{value}"\n' for name, value in RUN.items())
    (folder / "run.toml").write_text(
        f"{table}[train]\nmax_completion_length = 8\nper_device_train_batch_size = 2\n[lora]\nr = 4\n"
    )
    return folder
