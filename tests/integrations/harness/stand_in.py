"""Packages in place of the harnesses: they understand the command lines and write files of the same form."""

from pathlib import Path

LM_EVAL = """
import argparse, json, os, pathlib, sys
if os.environ.get("STAND_IN_FAILS"):
    print("a line before")
    sys.exit("ValueError: no such task")
parser = argparse.ArgumentParser()
parser.add_argument("run")
for option in ("model", "model_args", "tasks", "output_path", "seed", "limit", "device", "num_fewshot"):
    parser.add_argument("--" + option)
parser.add_argument("--trust_remote_code", action="store_true")
given = parser.parse_args()
results = {
    task: {"alias": task, "sample_len": int(given.limit or 12), "exact_match,strict-match": 0.25,
           "exact_match_stderr,strict-match": 0.125, "bleu,none": 3.5, "bleu_stderr,none": "N/A"}
    for task in given.tasks.split(",")
}
folder = pathlib.Path(given.output_path) / "a__model"
folder.mkdir()
(folder / "results_2026-01-01T00-00-00.0.json").write_text(json.dumps({"results": results, "seen": vars(given)}))
print("a warning of the harness")
"""
EVALSCOPE = """
import argparse, json, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("eval")
for option in ("model", "work-dir", "seed", "model-args", "limit", "dataset-hub"):
    parser.add_argument("--" + option)
parser.add_argument("--datasets", nargs="+")
parser.add_argument("--no-timestamp", action="store_true")
given = parser.parse_args()
folder = pathlib.Path(given.work_dir) / "reports" / "a model"
folder.mkdir(parents=True)
for task in given.datasets:
    metric = {"identity": {"name": "accuracy", "aggregation": "mean", "dimensions": {}}, "num": 8, "score": 0.625}
    report = {"schema_version": 2, "dataset_name": task, "metrics": [metric], "seen": vars(given)}
    (folder / (task + ".json")).write_text(json.dumps(report))
"""


def write_packages(folder: Path) -> Path:
    """Both packages, with their versions, for PYTHONPATH."""
    files = {
        "lm_eval/__init__.py": "",
        "lm_eval/__main__.py": LM_EVAL,
        "lm_eval-0.4.99.dist-info/METADATA": "Metadata-Version: 2.1\nName: lm_eval\nVersion: 0.4.99\n",
        "evalscope/__init__.py": "",
        "evalscope/cli/__init__.py": "",
        "evalscope/cli/cli.py": EVALSCOPE,
        "evalscope-1.99.dist-info/METADATA": "Metadata-Version: 2.1\nName: evalscope\nVersion: 1.99\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
