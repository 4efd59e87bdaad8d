"""Evaluations in a folder: what they write, and how they go on after whatever ended them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossdistill.demo.run import asset
from crossdistill.errors import InputError, ServerError
from crossdistill.eval.generation.prompts import messages_of
from crossdistill.eval.sample import Sample
from crossdistill.eval.sampling import Sampling
from crossdistill.eval.task import TaskOptions
from crossdistill.runs import evaluate as module
from crossdistill.runs.evaluate import evaluate, evaluate_model
from crossdistill.runs.evaluated_model import ModelOptions
from crossdistill.runs.evaluation_folder import EvaluationFolder
from crossdistill.runs.planned_task import PlannedTask
from crossdistill.teachers.served.options import ServedOptions
from crossdistill.teachers.writing import write_responses
from tests.eval.sums import EagerSums, Ungradable
from tests.models import student_model, student_tokenizer
from tests.teacher_server import Fault, Scorer, TeacherServer, faults
from tests.teacher_server.log import CHAT

STUDENT = asset("student")
GREEDY = Sampling(max_tokens=40)
SAMPLED = Sampling(k=3, temperature=0.8, top_p=0.95, max_tokens=40, seed=2)

FIELDS = Sample("0", 0, "4", "stop", 2, 0.1, correct=True).as_dict()


def planned(sampling: Sampling = GREEDY, **options: object) -> list[PlannedTask]:
    return [PlannedTask.of(EagerSums(), TaskOptions(**options), sampling)]


def run(
    output: Path, sampling: Sampling = GREEDY, resume: bool = False, model: str = STUDENT, **options: object
) -> dict:
    loading = ModelOptions(device="cpu", batch_tokens=2_000)
    return evaluate(model, planned(sampling, **options), output, model_options=loading, resume=resume, is_quiet=True)


def samples_file(output: Path) -> Path:
    return output / "samples" / "sums.jsonl"


def lines(output: Path) -> list[dict]:
    return [json.loads(line) for line in samples_file(output).read_text().splitlines()]


def texts(output: Path) -> dict[tuple[str, int], str]:
    return {(line["problem"], line["index"]): line["response"] for line in lines(output)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished evaluation of the demo's student, sampled."""
    output = tmp_path_factory.mktemp("whole") / "output"
    run(output, SAMPLED)
    return output


@pytest.fixture
def copy(whole: Path, output: Path) -> Path:
    """The folder of an evaluation whose process was killed before the end."""
    run_files = {path.relative_to(whole): path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    for path, content in run_files.items():
        (output / path).parent.mkdir(parents=True, exist_ok=True)
        (output / path).write_bytes(content)
    (output / "eval.json").unlink()
    return output


# ---- what is written ------------------------------------------------------------------------------------------------


def test_the_file_says_what_the_samples_say(whole):
    evaluation = json.loads((whole / "eval.json").read_text())
    entry, rows = evaluation["tasks"]["sums"], lines(whole)
    assert (evaluation["kind"], evaluation["model"]) == ("evaluation", STUDENT)
    assert len(rows) == 12 * 3
    right = {(row["problem"], row["index"]): row["correct"] for row in rows}
    assert entry["per_problem"] == {
        problem.id: [right[problem.id, index] for index in range(3)] for problem in planned()[0].problems
    }
    assert entry["metrics"]["avg@k"]["mean"] == pytest.approx(sum(right.values()) / 36)
    assert 0 < sum(right.values()) < 36
    assert set(entry["metrics"]) == {
        "avg@k", "pass@1", "pass@2", "pass@3", "parsed", "truncated", "empty", "mean_tokens"
    }  # fmt: skip
    assert entry["tokens"] == sum(row["tokens"] for row in rows)
    assert entry["num_problems"] == 12
    assert entry["sampling"] == {**vars(SAMPLED)}
    assert entry["seconds"] > 0
    assert {"python", "crossdistill", "torch", "transformers"} <= set(evaluation["versions"])


def test_flops_count_each_prompt_once(whole):
    from crossdistill.flops import ModelFlops

    rows = lines(whole)
    model = ModelFlops.of(AutoModelForCausalLM.from_pretrained(STUDENT))
    prompts = {row["problem"]: row["prompt_tokens"] for row in rows}
    expected = sum(model.forward([row["prompt_tokens"] + row["tokens"]]) for row in rows)
    expected -= 2 * sum(model.forward([length]) for length in prompts.values())
    assert json.loads((whole / "eval.json").read_text())["tasks"]["sums"]["flops"] == expected


def test_greedy_samples_are_what_write_responses_writes(output):
    run(output)
    problems = planned()[0].problems
    tokenizer, model = AutoTokenizer.from_pretrained(STUDENT), AutoModelForCausalLM.from_pretrained(STUDENT).eval()
    expected = list(write_responses(model, tokenizer, [messages_of(problem.prompt) for problem in problems], 40))
    assert texts(output) == {(one.id, 0): found.text for one, found in zip(problems, expected, strict=True)}


def test_two_tasks_in_one_folder(output):
    class Others(EagerSums):
        name = "others"

    tasks = [*planned(), PlannedTask.of(Others(5), TaskOptions(), GREEDY)]
    evaluate(STUDENT, tasks[:1], output, is_quiet=True)
    found = evaluate(STUDENT, tasks, output, resume=True, is_quiet=True)
    assert {name: entry["num_problems"] for name, entry in found["tasks"].items()} == {"sums": 12, "others": 5}


# ---- going on -------------------------------------------------------------------------------------------------------


def test_a_finished_evaluation_reads_no_weights(whole, monkeypatch):
    monkeypatch.setattr("crossdistill.runs.evaluated_model.load_model", None)
    before = (whole / "eval.json").read_text()
    assert run(whole, SAMPLED, resume=True) == json.loads(before)
    assert (whole / "eval.json").read_text() == before


@pytest.mark.parametrize("kept", [0, 1, 17, 35])
def test_what_is_missing_is_written_as_it_would_have_been(whole, copy, kept):
    complete = samples_file(copy).read_bytes().splitlines(keepends=True)
    half = complete[kept][: len(complete[kept]) // 2]
    samples_file(copy).write_bytes(b"".join(complete[:kept]) + half)
    found = run(copy, SAMPLED, resume=True)
    assert texts(copy) == texts(whole)
    assert samples_file(copy).read_bytes().startswith(b"".join(complete[:kept]))
    ours, theirs = found["tasks"]["sums"], json.loads((whole / "eval.json").read_text())["tasks"]["sums"]
    assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}


def test_the_order_of_the_file_does_not_matter(whole, copy):
    complete = samples_file(copy).read_bytes().splitlines(keepends=True)
    samples_file(copy).write_bytes(b"".join(reversed(complete[5:])))
    assert (
        run(copy, SAMPLED, resume=True)["tasks"]["sums"]["per_problem"]
        == json.loads((whole / "eval.json").read_text())["tasks"]["sums"]["per_problem"]
    )
    assert texts(copy) == texts(whole)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{half\n", "line 4 of .* is no sample"),
        (b"[]\n", "line 4 of .* is no sample"),
        (b'{"problem": "x"}\n', "line 4 of .* is no sample"),
        (json.dumps({**FIELDS, "index": "0"}).encode() + b"\n", "line 4 of .* is no sample"),
        (json.dumps({**FIELDS, "correct": 1}).encode() + b"\n", "line 4 of .* is no sample"),
    ],
)
def test_a_damaged_line_in_the_middle(copy, line, message):
    complete = samples_file(copy).read_bytes().splitlines(keepends=True)
    samples_file(copy).write_bytes(b"".join([*complete[:3], line, *complete[4:]]))
    with pytest.raises(InputError, match=message):
        run(copy, SAMPLED, resume=True)


def test_a_line_that_nobody_asked_for(copy):
    first = samples_file(copy).read_bytes().splitlines(keepends=True)[0]
    samples_file(copy).write_bytes(first + first)
    with pytest.raises(InputError, match=r"line 2 of .* repeats sample"):
        run(copy, SAMPLED, resume=True)
    stranger = json.dumps({**json.loads(first), "problem": "of another set"}) + "\n"
    samples_file(copy).write_text(stranger)
    with pytest.raises(InputError, match=r"line 1 of .* is sample . of 'of another set', which nobody asked for"):
        run(copy, SAMPLED, resume=True)


SCRIPT = """
import sys
from pathlib import Path
from tests.runs.test_evaluate import SAMPLED, run
run(Path(sys.argv[1]), SAMPLED, resume=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_and_resumed(whole, output, number):
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(output)], cwd=root)
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if samples_file(output).exists() and samples_file(output).stat().st_size:
            break
        time.sleep(0.002)
    os.kill(process.pid, number)
    process.wait()
    run(output, SAMPLED, resume=True)
    assert texts(output) == texts(whole)
    assert (output / "eval.json").exists()


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.fixture
def weightless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights are read."""
    monkeypatch.setattr("crossdistill.runs.evaluated_model.load_model", None)


@pytest.mark.usefixtures("weightless")
class TestRefusals:
    """Found before weights are read."""

    def test_a_grader_that_cannot_grade_here(self, output):
        tasks = [*planned(), PlannedTask.of(Ungradable(), TaskOptions(), GREEDY)]
        with pytest.raises(InputError, match="what grades them is not installed"):
            evaluate(STUDENT, tasks[1:], output, is_quiet=True)
        assert not output.exists()

    def test_a_folder_in_use(self, copy):
        with (
            FileLock(copy / ".lock"),
            pytest.raises(InputError, match=r"another evaluation writes to .* at this moment"),
        ):
            run(copy, SAMPLED, resume=True)

    def test_a_folder_that_holds_an_evaluation(self, copy):
        with pytest.raises(InputError, match="holds an evaluation: pass --resume to continue it"):
            run(copy, SAMPLED)

    def test_a_folder_that_holds_something_else(self, output):
        output.mkdir()
        (output / "notes.txt").write_text("mine")
        with pytest.raises(InputError, match="holds other files"):
            run(output)
        (output / "config.json").write_text('{"student": "a", "teacher": "b"}')
        with pytest.raises(InputError, match="holds another run"):
            run(output, resume=True)

    def test_other_settings(self, copy):
        other = Sampling(**{**vars(SAMPLED), "temperature": 1.0, "k": 4})
        with pytest.raises(InputError, match=r"sums.sampling.k \(was 3, now 4\); sums.sampling.temperature \(was 0.8"):
            run(copy, other, resume=True)

    def test_other_problems(self, copy):
        with pytest.raises(
            InputError, match=r"other settings: sums.limit \(was None, now 5\); sums.num_problems \(was"
        ):
            run(copy, SAMPLED, resume=True, limit=5)

    def test_other_answers_to_the_same_number_of_problems(self, copy):
        config = json.loads((copy / "config.json").read_text())
        config["tasks"]["sums"]["digest"] = "0" * 64
        (copy / "config.json").write_text(json.dumps(config))
        with pytest.raises(InputError, match=r"other settings: sums.digest \(was '0000"):
            run(copy, SAMPLED, resume=True)

    def test_another_dtype(self, copy):
        loading = ModelOptions(device="cpu", dtype="bfloat16")
        with pytest.raises(InputError, match=r"other settings: dtype \(was 'auto', now 'bfloat16'\)"):
            evaluate(STUDENT, planned(SAMPLED), copy, model_options=loading, resume=True, is_quiet=True)

    def test_another_model_on_a_task_that_is_called_model(self, tmp_path):
        folder, samples = EvaluationFolder(tmp_path), tmp_path / "samples"
        with folder.claimed("one", {"model": {"limit": 1}}):
            samples.mkdir()
            (samples / "model.jsonl").touch()
        with pytest.raises(InputError, match=r"other settings: model \(was 'one', now 'other'\)"):
            folder.check("other", {"model": {"limit": 1}}, resume=True)

    def test_another_model(self, copy):
        with pytest.raises(InputError, match="has other settings: model "):
            run(copy, SAMPLED, resume=True, model=asset("teacher"))

    def test_other_weights_under_the_same_name(self, copy, tmp_path, output):
        model = tmp_path / "model"
        shutil.copytree(STUDENT, model)
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**config, "model": str(model)}))
        weights = bytearray((model / "model.safetensors").read_bytes())
        weights[len(weights) // 2 : len(weights) // 2 + 4] = b"\0\0\0\0"
        (model / "model.safetensors").write_bytes(weights)
        with pytest.raises(InputError, match="has other settings: weights "):
            run(copy, SAMPLED, resume=True, model=str(model))

    def test_no_room_in_the_context(self, output):
        with pytest.raises(InputError, match=r"has .* tokens, and the model's context is 256"):
            run(output, Sampling(system="Think. " * 400))
        assert not output.exists()

    @pytest.mark.parametrize(
        ("options", "message"), [({"device": "warp"}, "the device 'warp'"), ({"dtype": "int3"}, "no dtype 'int3'")]
    )
    def test_options_of_the_model(self, output, options, message):
        with pytest.raises(InputError, match=message):
            evaluate(STUDENT, planned(), output, model_options=ModelOptions(**options), is_quiet=True)


# ---- the model ------------------------------------------------------------------------------------------------------


def test_an_adapter(output, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(STUDENT)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = STUDENT
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    run(output, model=str(tmp_path / "adapter"))
    tokenizer = AutoTokenizer.from_pretrained(STUDENT)
    found = evaluate_model(
        adapted.train(), tokenizer, EagerSums(), TaskOptions(), GREEDY, tmp_path / "loaded", is_quiet=True
    )
    assert texts(output) == texts(tmp_path / "loaded")
    run(tmp_path / "base")
    assert texts(output) != texts(tmp_path / "base")
    assert found["tasks"]["sums"]["num_problems"] == 12


def test_an_adapter_without_a_base(output, tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="does not name the model that it belongs to"):
        run(output, model=str(tmp_path))


def test_a_loaded_model_is_as_before(output):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(STUDENT), AutoTokenizer.from_pretrained(STUDENT)
    model.train()
    model.model.layers[0].eval()
    modes = [one.training for one in model.modules()]
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    evaluate_model(model, tokenizer, EagerSums(), TaskOptions(), SAMPLED, output, name="mine", is_quiet=True)
    assert torch.equal(torch.rand(2), expected)
    assert [one.training for one in model.modules()] == modes
    assert json.loads((output / "eval.json").read_text())["model"] == "mine"


def test_a_model_that_never_stops(output, caplog):
    tokenizer = student_tokenizer()
    model = student_model(tokenizer)
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] = 0
    found = evaluate_model(model, tokenizer, EagerSums(), TaskOptions(), Sampling(max_tokens=3), output, is_quiet=True)
    assert found["tasks"]["sums"]["metrics"]["truncated"]["mean"] == 1
    assert "12 of 12 responses to sums were cut at their limit of 3 tokens" in caplog.text


# ---- behind a server ------------------------------------------------------------------------------------------------

QUICK = ServedOptions(timeout_s=5.0, patience_s=1.5, max_in_flight=2)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(AutoModelForCausalLM.from_pretrained(STUDENT), AutoTokenizer.from_pretrained(STUDENT))


def test_a_server_gives_what_the_model_gives(scorer, output, tmp_path):
    run(tmp_path / "local")
    with TeacherServer(scorer) as server:
        found = evaluate(server.url, planned(), output, server=QUICK, is_quiet=True)
        num_asked = sum(seen.path == CHAT for seen in server.log.requests)
        again = evaluate(server.url + "/v1", planned(), output, server=QUICK, resume=True, is_quiet=True)
        assert sum(seen.path == CHAT for seen in server.log.requests) == num_asked == 12
    assert again == found
    assert texts(output) == texts(tmp_path / "local")
    entry = found["tasks"]["sums"]
    assert (found["model"], entry["flops"]) == ("tiny", None)


def test_empty_responses_are_counted(scorer, output, caplog):
    def empty(answer: dict) -> dict:
        choice = {**answer["choices"][0], "message": {"role": "assistant", "content": None}}
        return {**answer, "choices": [choice]}

    with TeacherServer(scorer) as server:
        server.script = lambda seen: Fault("empty", answer=empty) if seen.path == CHAT else None
        found = evaluate(server.url, planned(), output, server=QUICK, is_quiet=True)
    metrics = found["tasks"]["sums"]["metrics"]
    assert {name: metrics[name]["mean"] for name in ("avg@k", "empty", "parsed")} == {
        "avg@k": 0,
        "empty": 1,
        "parsed": 0,
    }
    assert "12 of 12 responses to sums are empty" in caplog.text


@pytest.mark.slow
def test_a_server_that_dies(scorer, output):
    with TeacherServer(scorer) as server:
        server.script = lambda seen: (
            faults.reset() if sum(one.path == CHAT for one in server.log.requests) > 6 else None
        )
        with pytest.raises(ServerError, match="gave no usable answer"):
            evaluate(server.url, planned(), output, server=QUICK, is_quiet=True)
        kept = texts(output)
        assert 4 <= len(kept) <= 6  # what was answered is graded, although the grader reads ahead
        assert not (output / "eval.json").exists()
        server.script = lambda seen: None
        server.log.clear()
        evaluate(server.url, planned(), output, server=QUICK, resume=True, is_quiet=True)
        assert sum(seen.path == CHAT for seen in server.log.requests) == 12 - len(kept)
    assert len(texts(output)) == 12


@pytest.mark.slow
def test_samples_of_which_some_failed(scorer, output):
    """They are neither wrong nor left out: there are no scores until they are there."""
    [unlucky] = messages_of(planned()[0].problems[3].prompt)
    with TeacherServer(scorer) as server:
        server.script = lambda seen: faults.status(400, "no") if unlucky["content"] in seen.raw.decode() else None
        with pytest.raises(ServerError, match=r"answered 11 of 12 samples; of the others it says: no \(status 400\)"):
            evaluate(server.url, planned(), output, server=QUICK, is_quiet=True)
        assert len(texts(output)) == 11
        assert not (output / "eval.json").exists()
        server.script = lambda seen: None
        found = evaluate(server.url, planned(), output, server=QUICK, resume=True, is_quiet=True)
    assert found["tasks"]["sums"]["metrics"]["avg@k"]["n"] == 12


def test_weights_are_read_once_for_all_tasks(output, monkeypatch):
    class Others(EagerSums):
        name = "others"

    calls: list[str] = []
    load = module.local_model
    monkeypatch.setattr(module, "local_model", lambda *arguments: calls.append("once") or load(*arguments))
    evaluate(STUDENT, [*planned(), PlannedTask.of(Others(5), TaskOptions(), GREEDY)], output, is_quiet=True)
    assert calls == ["once"]
