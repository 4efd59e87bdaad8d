"""What it costs to start: processor seconds of commands that train nothing, beside those of what they could import.

    python -m benchmarks.startup --runs 5 --output benchmarks/results/startup.json

Each command is a fresh process; the fastest of some runs counts, in processor time (user and system), which other work
on the machine disturbs least.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

MODELS = [str(files("crossdistill") / "demo" / "assets" / name) for name in ("student", "teacher")]
RUN = ["-m", "crossdistill", "train", "--set", "student=s", "--set", "teacher=t", "--set", "dataset=d"]
ALIGN = ["align", *MODELS, "two words"]
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None"
CASES = {
    "python": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import torch": ["-c", "import torch"],
    "import transformers": ["-c", "import transformers"],
    "AutoTokenizer": ["-c", "from transformers import AutoTokenizer"],
    "AutoTokenizer without torch": ["-c", f"{WITHOUT_TORCH}; from transformers import AutoTokenizer"],
    "trl.DistillationConfig": ["-c", "from trl import DistillationConfig"],
    "import crossdistill": ["-c", "import crossdistill"],
    "crossdistill --version": ["-m", "crossdistill", "--version"],
    "crossdistill --help": ["-m", "crossdistill", "--help"],
    "crossdistill train --keys": ["-m", "crossdistill", "train", "--keys"],
    "an unknown key": [*RUN, "--set", "max_steps=5"],
    "a value of the wrong type": [*RUN, "--set", "train.max_steps=few"],
    "crossdistill align": ["-m", "crossdistill", *ALIGN],
    "the same with torch": ["-c", "from crossdistill.cli.app import app; app()", *ALIGN],
}


def cpu_seconds(arguments: list[str]) -> float:
    """Of one fresh interpreter with these arguments; its exit code does not matter."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=False)  # noqa: S603 our own commands
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the fastest run of each case so far: seconds, and as a multiple of the interpreter's own start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="of each case, side by side with the others")
    parser.add_argument("--only", default="", help="cases whose name has this text")
    parser.add_argument("--output", type=Path, help="a file of JSON, for the figures")
    options = parser.parse_args()
    cases = {name: arguments for name, arguments in CASES.items() if options.only in name or name == "python"}
    best = dict.fromkeys(cases, math.inf)
    for number in range(options.runs):
        print(f"run {number + 1}")
        for name, arguments in cases.items():
            best[name] = min(best[name], cpu_seconds(arguments))
            print(f"{name:28} {best[name]:6.2f} s {best[name] / best['python']:8.0f} x", flush=True)
    if options.output:
        figures = {"runs": options.runs, "cpu_seconds": {name: round(seconds, 2) for name, seconds in best.items()}}
        options.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
