"""Do our graders and lm-eval's scorers agree on the same responses?

lm-eval's own code scores: the filters and the metric of its gsm8k.yaml, and `process_results` of its hendrycks_math,
minerva_math and aime tasks. It is installed beside the extra `eval`:

    pip install "lm-eval[math]>=0.4.13,<0.5"
    python benchmarks/grading_agreement.py gsm8k test.jsonl
    python benchmarks/grading_agreement.py math500 math500.jsonl
    python benchmarks/grading_agreement.py aime aime.jsonl

A file has one problem a line with its `answer`. With a `response` in each line, those are graded; else responses are
written from the answers in the ways in which models write them, right ones and wrong ones in turn.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdistill.eval.grading.extraction import last_answer
from crossdistill.eval.grading.math_answer import MathGrader
from crossdistill.eval.grading.notation import read_number
from crossdistill.eval.problem import Problem

Scorer = Callable[[str, str], bool]

COMMON = {
    "in a box": r"So the answer is $\boxed{{{0}}}$.",
    "in a box with a space, \\boxed 5": r"So the answer is $\boxed {0}$.",
    "in a box, a remark with a number after it": r"So the answer is \boxed{{{0}}}. I checked it 3 times.",
    "in a box, with a name": r"So the answer is $\boxed{{n = {0}}}$.",
    "in a box, with a unit": r"So the answer is $\boxed{{{0} \text{{ units}}}}$.",
    "in the second of two boxes": r"First I thought $\boxed{{{1}}}$, but it is $\boxed{{{0}}}$.",
    "in a box, formulas before it": r"As $a = 2$ and $b = 3$, it is $\boxed{{{0}}}$.",
    "in a sentence": "So the answer is {0}.",
    "in a sentence, as a formula": "So the answer is ${0}$.",
    "bold": "**Answer: {0}**",
    "in a box that is cut": r"So the answer is $\boxed{{{0}",
}
STYLES = {
    "gsm8k": COMMON
    | {
        "after ####": "That makes {0}.\n#### {0}",
        "after ####, with a full stop": "#### {0}.",
        "after ####, in dollars": "#### ${0}",
        "after ####, with decimals": "#### {0}.00",
        "after ####, with a unit": "#### {0} dollars",
        "after the second ####": "#### {1}\nNo:\n#### {0}",
        "in a box, in dollars": r"It costs $\boxed{{\${0}}}$.",
    },
    "math500": COMMON
    | {
        "in a box, \\dfrac": r"It is $\boxed{{{2}}}$.",
        "as Minerva's examples": "Final Answer: The final answer is ${0}$. I hope it is correct.",
    },
    "aime": COMMON
    | {"in a box, three digits": r"It is $\boxed{{{3}}}$.", "in a box, in degrees": r"It is $\boxed{{{0}^\circ}}$."},
}
FOR_NUMBERS = {"in a box, with a name", "in a box, with a unit"}


@dataclass(frozen=True)
class Case:
    """A response, its right answer, and how it gives one."""

    gold: str
    response: str
    style: str


def cases(task: str, rows: list[dict[str, Any]], count: int) -> Iterator[Case]:
    """The responses of the rows, or responses that are written for them."""
    golds = [last_answer(str(row["answer"])) or str(row["answer"]) for row in rows]
    if "response" in rows[0]:
        yield from (Case(gold, row["response"], "generated") for gold, row in zip(golds, rows, strict=True))
        return
    styles = list(STYLES[task].items())
    for number in range(count):
        gold, other = golds[number % len(golds)], golds[(number + 1) % len(golds)]
        style, template = styles[number % len(styles)]
        right = number // len(styles) % 3 != 2  # every third round is wrong
        said, rejected = (gold, other) if right else (other, gold)
        if style in FOR_NUMBERS and read_number(said) is None:
            style, template = styles[0]
        fancy = said.replace(r"\frac", r"\dfrac")
        yield Case(gold, template.format(said, rejected, fancy, said.zfill(3)), f"{style}: {_truth(gold, said)}")


def _truth(gold: str, said: str) -> str:
    numbers = read_number(gold), read_number(said)
    same = gold == said or (None not in numbers and numbers[0].value == numbers[1].value)  # type: ignore[union-attr]
    return "right" if same else "wrong"


def scorers(task: str) -> dict[str, Scorer]:
    """lm-eval's scorers of a task, by name."""
    if task == "gsm8k":
        return _gsm8k()
    if task == "aime":
        from lm_eval.tasks.aime import utils as aime

        return {"aime": lambda gold, response: bool(aime.process_results({"answer": gold}, [response])["exact_match"])}
    from lm_eval.tasks.hendrycks_math import utils as hendrycks
    from lm_eval.tasks.minerva_math import utils as minerva

    def documents(gold: str) -> dict[str, str]:
        return {"solution": rf"$\boxed{{{gold}}}$", "answer": minerva.normalize_final_answer(gold)}

    def by_minerva(metric: str) -> Scorer:
        return lambda gold, response: bool(minerva.process_results(documents(gold), [response])[metric])

    return {
        "hendrycks_math500": lambda gold, response: bool(
            hendrycks.process_results(documents(gold), [response])["exact_match"]
        ),
        "minerva_math500 exact_match": by_minerva("exact_match"),
        "minerva_math500 math_verify": by_minerva("math_verify"),
    }


def _gsm8k() -> dict[str, Scorer]:
    import lm_eval
    import yaml
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import RegexFilter

    config = yaml.safe_load((Path(lm_eval.__file__).parent / "tasks/gsm8k/gsm8k.yaml").read_text())
    options = {key: config["metric_list"][0][key] for key in ("ignore_case", "ignore_punctuation", "regexes_to_ignore")}

    def by(name: str) -> Scorer:
        (steps,) = (entry["filter"] for entry in config["filter_list"] if entry["name"] == name)
        regex = RegexFilter(**{key: value for key, value in steps[0].items() if key != "function"})

        def score(gold: str, response: str) -> bool:
            ((found,),) = regex.apply([[response]], [{}])
            return bool(exact_match_hf_evaluate([found], [f"#### {gold}"], **options)["exact_match"])

        return score

    return {f"gsm8k {name}": by(name) for name in ("strict-match", "flexible-extract")}


def compare(task: str, rows: list[dict[str, Any]], count: int) -> None:
    """Print how far each scorer agrees, and the classes in which it does not."""
    chosen = list(cases(task, rows, count))
    with MathGrader() as grader:
        ours = [verdict.correct for verdict in grader.grade((Problem("", "", c.gold), c.response) for c in chosen)]
    for name, score in scorers(task).items():
        theirs = [score(case.gold, case.response) for case in chosen]
        agreed = sum(map(bool.__eq__, ours, theirs))
        print(f"\n{name}: agrees on {agreed} of {len(chosen)}; right: ours {sum(ours)}, theirs {sum(theirs)}")
        differing = [
            (case.style, mine, case) for case, mine, other in zip(chosen, ours, theirs, strict=True) if mine != other
        ]
        for (style, mine), times in Counter((style, mine) for style, mine, _ in differing).most_common():
            example = next(case for other, verdict, case in differing if (other, verdict) == (style, mine))
            shown = re.sub(r"\s+", " ", example.response)[-80:]
            print(f"  {times:3} {style}; ours {'right' if mine else 'wrong'}: {example.gold!r} in {shown!r}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare our grading with lm-eval's.")
    parser.add_argument("task", choices=sorted(STYLES))
    parser.add_argument("file", type=Path, help="JSON lines with `answer`, and `response` if there are responses")
    parser.add_argument("--count", type=int, default=100, help="responses to write, if there are none")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.file.read_text(encoding="utf-8").splitlines()]
    compare(options.task, rows, options.count)


if __name__ == "__main__":
    main()
