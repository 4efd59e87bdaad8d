"""``crossdistill compare`` on folders as the commands write them."""

import json
import re

import pytest

from tests.cli.harness import run
from tests.eval.comparison.factory import entry, verdicts, write_evaluation, write_training


@pytest.fixture
def runs(tmp_path):
    """Three seeds of a method that learns, a method that does not, an evaluation, and a teacher."""
    for seed in range(3):
        by_step = {0: verdicts(0.3), 10: verdicts(0.5 + 0.02 * seed), 20: verdicts(0.7 + 0.02 * seed)}
        write_training(tmp_path / f"dpca-seed{seed}", by_step, seed=seed)
    write_training(tmp_path / "gold", {0: verdicts(0.3), 10: verdicts(0.32), 20: verdicts(0.31)}, objective="gold")
    write_evaluation(tmp_path / "sft", {"sums": entry(verdicts(0.35, seed=4))})
    write_evaluation(tmp_path / "teacher", {"sums": entry(verdicts(0.9)), "more": entry(verdicts(0.5))})
    return tmp_path


def names(runs, *only):
    return [str(runs / name) for name in only]


def compared(*arguments):
    result = run("compare", *arguments, "--json")
    assert result.code == 0, result.err
    return [json.loads(line) for line in result.out.splitlines()]


EVERY = ("dpca-seed0", "dpca-seed1", "dpca-seed2", "gold", "sft")


def test_evaluations_and_training_runs(runs):
    teacher = str(runs / "teacher")
    (found,) = compared(*names(runs, *EVERY), "--teacher", teacher, "--reach", "0.5", "--reach", "0.99")
    assert [row["name"] for row in found["rows"]] == ["start", "dpca-seed*", "gold", "sft", "teacher"]
    assert (found["task"], found["baseline"], found["num_problems"], found["k"]) == ("sums", "start", 60, 1)
    rows = {row["name"]: row for row in found["rows"]}
    assert len(rows["dpca-seed*"]["means"]) == 3
    assert rows["dpca-seed*"]["verdict"] == "better"
    assert 0 < rows["dpca-seed*"]["gap_recovery"]["mean"] < 1
    first, second = rows["dpca-seed*"]["reached"]
    assert (first["num_reached"], second["num_reached"], second["costs"]) == (3, 0, None)
    assert 0 < first["costs"]["step"] < 20
    assert first["costs"]["student_tokens"] == pytest.approx(1000 * first["costs"]["step"])
    assert rows["gold"]["reached"][0] == {"accuracy": 0.5, "num_runs": 1, "num_reached": 0, "costs": None}
    assert rows["sft"]["curve"] == rows["sft"]["reached"] == []


def test_a_second_run_of_a_seed_is_no_second_seed(runs):
    write_training(runs / "again", {0: verdicts(0.3), 10: verdicts(0.5), 20: verdicts(0.6)}, seed=0)
    (found,) = compared(*names(runs, "dpca-seed0", "dpca-seed1", "again"))
    assert [row["name"] for row in found["rows"]] == ["start", "dpca-seed*", "again"]
    for number, name in enumerate(("dpca-seed0", "again")):
        model = str(runs / name / "model")
        write_evaluation(runs / f"after-{number}", {"sums": entry(verdicts(0.5 + 0.1 * number))}, model=model)
    (found,) = compared(*names(runs, "after-0", "after-1"))
    assert [row["name"] for row in found["rows"]] == ["after-0", "after-1"]


def test_the_table(runs):
    result = run("compare", *names(runs, *EVERY), "--teacher", str(runs / "teacher"), "--reach", "0.9", columns=80)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= 80
    (row,) = (line for line in lines if line.strip().startswith("dpca-seed*") and "better" in line)
    numbers = r"[\d.]+ +[\d.]+ to [\d.]+ +\+[\d.]+ +\+[\d.]+ to \+[\d.]+ +< 0\.001 +better"
    assert re.fullmatch(rf" *dpca-seed\* +{numbers} *", row)
    said = " ".join(result.out.split())
    assert "60 problems, one sample of each. Differences are to start" in said
    assert "corrected by Holm for 4 comparisons" in said
    assert "one row: dpca-seed* 3 (" in said
    assert said.count("not reached") == 2


def test_a_training_run_alone_is_held_against_its_start(runs):
    (found,) = compared(str(runs / "dpca-seed0"))
    assert [row["name"] for row in found["rows"]] == ["start", "dpca-seed0"]
    assert found["rows"][1]["verdict"] == "better"


def test_evaluations_of_the_models_of_several_seeds_are_one_row(runs):
    for seed in range(3):
        model = str(runs / f"dpca-seed{seed}" / "model")
        write_evaluation(runs / f"after-{seed}", {"sums": entry(verdicts(0.6 + 0.05 * seed))}, model=model)
    (found,) = compared(*names(runs, "sft", "after-0", "after-1", "after-2", "dpca-seed0"))
    assert [row["name"] for row in found["rows"]] == ["start", "sft", "after-*", "dpca-seed0"]
    assert len(found["rows"][2]["means"]) == 3


def test_another_baseline(runs):
    (found,) = compared(*names(runs, "gold", "sft"), "--baseline", str(runs / "dpca-seed0"))
    assert found["baseline"] == "dpca-seed0"
    assert {row["name"]: row["verdict"] for row in found["rows"]}["gold"] == "worse"


def test_students_that_start_from_other_models_keep_their_starts(runs):
    write_training(runs / "large", {0: verdicts(0.5), 10: verdicts(0.6)}, student="a/larger")
    (found,) = compared(*names(runs, "gold", "large"))
    assert [row["name"] for row in found["rows"]] == ["start a/student", "start a/larger", "gold", "large"]


def test_tasks_in_common(runs):
    both = {"sums": entry(verdicts(0.4)), "more": entry(verdicts(0.6))}
    write_evaluation(runs / "both", both)
    pair = names(runs, "both", "teacher")
    assert [found["task"] for found in compared(*pair)] == ["sums", "more"]
    assert [found["task"] for found in compared(*pair, "--task", "more")] == ["more"]
    assert [found["task"] for found in compared(*pair, str(runs / "sft"))] == ["sums"]
    message = run("compare", *pair, str(runs / "sft"), "--task", "more").message
    assert message.startswith(
        "these runs are not all on the task 'more' (both on sums, more; teacher on sums, more; sft on"
    )


def test_the_page(runs):
    page = runs / "page.html"
    result = run("compare", *names(runs, *EVERY), "--reach", "0.5", "--html", str(page), "--quiet")
    assert (result.code, result.out, result.err) == (0, "", "")
    source = page.read_text()
    assert source.count("<figure>") == 4  # steps, tokens, FLOPs, seconds
    assert "dpca-seed*" in source
    assert "Cost to reach 50.0 %" in source


# --- bad input


def test_one_evaluation_alone(runs):
    assert run("compare", str(runs / "sft")).message == (
        f"{runs / 'sft'} is one run alone: name another one to compare with."
    )


def test_evaluations_of_seeds_of_one_method_alone(runs):
    evaluated = [runs / f"eval-{seed}" for seed in range(2)]
    for seed, folder in enumerate(evaluated):
        model = runs / f"dpca-seed{seed}" / "model"
        write_evaluation(folder, {"sums": entry(verdicts(0.5 + 0.1 * seed))}, model=str(model))
    message = run("compare", *map(str, evaluated)).message
    assert message.endswith(
        "eval-0, eval-1 differ in nothing but their seeds, and form one row: name another one to compare with."
    )
    for seed in range(2):  # of a run without its configuration nothing is known
        path = runs / f"dpca-seed{seed}" / "run.json"
        path.write_text(
            json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "config"})
        )
    (found,) = compared(*map(str, evaluated))
    assert [row["name"] for row in found["rows"]] == ["eval-0", "eval-1"]


@pytest.mark.parametrize("again", ["sft", "other/../sft"])
def test_a_folder_twice(runs, again):
    (runs / "other").mkdir()
    message = run("compare", str(runs / "sft"), str(runs / again)).message
    assert message.endswith("is given twice: name each run once.")


def test_two_runs_of_one_evaluation(runs):
    for name in ("first", "second"):
        write_evaluation(runs / name, {"sums": entry(verdicts(0.4))}, model="one/model")
    message = run("compare", *names(runs, "first", "second")).message
    assert message == "first and second are copies of one evaluation: name it once."


def test_a_run_without_evaluations(runs):
    (runs / "plain").mkdir()
    (runs / "plain" / "run.json").write_text(json.dumps({"student": "a/student"}))
    message = run("compare", *names(runs, "plain", "sft")).message
    assert message.startswith(f"the run in {runs / 'plain'} evaluated nothing: set eval_tasks in its run file")


def test_unfinished(runs):
    (runs / "sft" / "config.json").write_text(json.dumps({"kind": "evaluation", "tasks": {"sums": {}, "more": {}}}))
    message = run("compare", *names(runs, "gold", "sft")).message
    assert message == (
        f"the evaluation in {runs / 'sft'} is not finished on more: continue it with --resume, or name a finished task "
        "with --task."
    )
    assert run("compare", *names(runs, "gold", "sft"), "--task", "sums").code == 0
    (runs / "begun" / "samples").mkdir(parents=True)
    assert "begun is not finished: continue it with --resume" in run("compare", *names(runs, "begun", "sft")).message
    (runs / "training").mkdir()
    (runs / "training" / "config.json").write_text("{}")
    assert "training is not finished: continue it" in run("compare", *names(runs, "training", "sft")).message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"tasks": {"su', "is not JSON"),
        ("[]", "holds a list, not a JSON object"),
        ("{}", "names no task"),
        ('{"tasks": {"sums": {"digest": "d"}}}', "is damaged: its task 'sums' lacks"),
    ],
)
def test_a_damaged_evaluation(runs, content, words):
    (runs / "sft" / "eval.json").write_text(content)
    message = run("compare", *names(runs, "gold", "sft")).message
    assert message.startswith(f"{runs / 'sft' / 'eval.json'} {words}")


def test_a_damaged_training_run(runs):
    record = json.loads((runs / "gold" / "run.json").read_text())
    del record["accuracy"]["sums"][1]["mean"]
    (runs / "gold" / "run.json").write_text(json.dumps(record))
    assert "an entry of its accuracy lacks step or mean" in run("compare", *names(runs, "gold", "sft")).message


def test_other_problems_and_other_settings(runs):
    write_evaluation(runs / "hot", {"sums": entry(verdicts(0.4), temperature=1.0)})
    assert "temperature (0.0 and 1.0)" in run("compare", *names(runs, "gold", "hot")).message
    write_evaluation(runs / "fewer", {"sums": entry(verdicts(0.4, 30), digest="d1")})
    assert "num_problems (60 and 30)" in run("compare", *names(runs, "sft", "fewer")).message
    write_evaluation(runs / "else", {"other": entry(verdicts(0.4))})
    message = run("compare", *names(runs, "sft", "else")).message
    assert message.startswith("these runs are on no task in common (sft on sums; else on other)")


def test_no_folder_and_no_share(runs):
    assert "is not a folder" in run("compare", *names(runs, "sft", "nothing")).message
    assert "holds neither an evaluation nor a training run" in run("compare", *names(runs, "sft", ".")).message
    assert "give a share above 0 and up to 1" in run("compare", *names(runs, "gold", "sft"), "--reach", "50").message
