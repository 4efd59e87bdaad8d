"""A whole arena on the demo's pair: two steps a run."""

import json
from dataclasses import replace

import pytest

from crossdistill import InputError
from crossdistill.arena.cell import Cell
from crossdistill.arena.checks import check_arena
from crossdistill.arena.folder import ArenaFolder
from crossdistill.arena.model_checks import check_models
from crossdistill.arena.plan import num_cells
from crossdistill.arena.rules import rules_of
from crossdistill.arena.run import Running, run_arena
from crossdistill.demo.run import asset
from crossdistill.eval.task import TaskOptions
from tests.arena.files import read
from tests.arena.outcomes import outcome
from tests.arena.split_sums import Test, Validation

START = Cell("demo", "start", "model")
DPCA = Cell("demo", "dpca", "test", 1e-3, 0)
SERVED = ["pairs.demo.teacher=http://localhost:1", f"pairs.demo.teacher_tokenizer={asset('teacher')}"]


@pytest.mark.slow
@pytest.mark.long
def test_an_arena_goes_to_its_end_and_goes_on_where_it_stopped(tmp_path):
    arena, output, lines = (
        read(tmp_path, "rates=[1e-3]", "seeds=[0]", "tasks.sums.examples=examples.jsonl"),
        tmp_path / "out",
        [],
    )
    found = run_arena(arena, output, Running(), lines.append)
    assert len(found) == num_cells(arena) == len(lines)
    assert all(one.status == "done" for one in found.values())
    dpca = found[DPCA]
    assert [point["step"] for point in dpca.curve] == [0, 2]
    assert dpca.responses == 8 and dpca.student_tokens > 0 and dpca.flops > 0
    assert dpca.bits_per_byte is not None and dpca.entropy is not None and dpca.gap is not None
    assert dpca.test is not None and len(dpca.test.correct) == 24
    assert dpca.test.digest == found[START].test.digest != dpca.validation.digest
    assert not (ArenaFolder(output).cell(DPCA) / "run" / "model").exists()  # weights are not kept
    seqkd = found[replace(DPCA, method="seqkd")]
    assert seqkd.responses == 8
    written = (ArenaFolder(output).cell(seqkd.cell) / "prompts.jsonl").read_text().splitlines()
    assert len(written) == 8

    # all is there; one more seed is one more cell for each entrant
    lines.clear()
    assert run_arena(arena, output, Running(), lines.append) == found and not lines
    more = run_arena(
        read(tmp_path, "rates=[1e-3]", "seeds=[0, 1]"), output, Running(only=["demo/dpca/*"]), lines.append
    )
    assert [cell.seed for cell in set(more) - set(found)] == [1]

    # the same cell again gives the same outcome
    again = run_arena(arena, output, Running(again=["demo/dpca/test*"]), lines.append)[DPCA]
    assert again.test == dpca.test and again.loss == dpca.loss and again.student_tokens == dpca.student_tokens

    # under other rules the folder is refused
    with pytest.raises(InputError, match="were run under other rules"):
        run_arena(read(tmp_path, "rates=[1e-3]", "seeds=[0]", "train.max_steps=3"), output, Running(), lines.append)


def test_rules_are_of_contents_and_not_of_places(tmp_path):
    places = [tmp_path / name for name in ("one", "other")]
    for place in places:
        place.mkdir()
    one, other = (rules_of(read(place), DPCA) for place in places)
    assert one == other
    (places[1] / "prompts.jsonl").write_text((places[1] / "prompts.jsonl").read_text() + "\n")
    from crossdistill.arena.file import read_arena
    from crossdistill.arena.rules import content_of

    content_of.cache_clear()
    assert rules_of(read_arena(places[1] / "arena.toml"), DPCA) != one


def test_rules_are_of_the_data_in_a_folder(tmp_path):
    from crossdistill.arena.rules import content_of

    (tmp_path / "prompts").mkdir()
    data = tmp_path / "prompts" / "part.parquet"
    data.write_bytes(b"one")
    before = content_of(str(data.parent))
    content_of.cache_clear()
    data.write_bytes(b"two")
    assert content_of(str(data.parent)) != before


@pytest.mark.parametrize(
    "override",
    ["train.temperature=0.9", "methods.dpca.options.credit=first", "tasks.sums.test.max_tokens=40", "eval_every=1"],
)
def test_rules_change_with_what_a_cell_follows_from(tmp_path, override):
    assert rules_of(read(tmp_path, override), DPCA) != rules_of(read(tmp_path), DPCA)


def test_rules_of_a_model_change_with_its_template(tmp_path):
    thinks = "train.chat_template_kwargs.enable_thinking=false"
    assert rules_of(read(tmp_path, thinks), START) != rules_of(read(tmp_path), START)


@pytest.mark.parametrize("override", ["seeds=[0, 1, 2]", "rates=[1e-3]", "methods.x.objective=strict", "reach=0.5"])
def test_rules_of_a_cell_stay_if_others_are_added(tmp_path, override):
    assert rules_of(read(tmp_path, override), DPCA) == rules_of(read(tmp_path), DPCA)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([*SERVED, "controls=['seqkd']"], "seqkd lets the teacher of 'demo' write"),
        (
            [*SERVED, "controls=[]", "methods.bpm.objective=bpm"],
            "the method 'bpm' on 'demo': it reads the teacher's whole distribution, which the server http://loc",
        ),
        (
            SERVED[:1],
            r"\[pairs.demo\] teacher: http://localhost:1 is a server: name .* its tokenizer, teacher_tokenizer",
        ),
        (["pairs.demo.student=http://localhost:1"], "student http://localhost:1 is a server, which cannot be trained"),
        (["pairs.demo.student=/no/where"], r"\[pairs.demo\] student: .*'/no/where' cannot be read .there is no such"),
        (
            ["pairs.demo.teacher=./teachr"],
            r"\[pairs.demo\] teacher: .*'./teachr' cannot be read .there is no such fold",
        ),
        (["pairs.demo.student=prompts.jsonl"], r"student: .*prompts.jsonl is a file: name a model's folder"),
        (["pairs.demo.student=empty"], r"\[pairs.demo\] student: the configuration of '.*empty' cannot be read"),
        (["pairs.demo.teacher_tokenizer=empty"], r"\[pairs.demo\] teacher: the tokenizer of '.*empty' cannot be read"),
        (
            ["methods.dpca.teachers.reference.model=/no/where"],
            r"\[methods.dpca.teachers.reference\]: .*'/no/where' cannot be read",
        ),
        (
            ["methods.bpm.objective=bpm", f"methods.bpm.teachers.reference.model={asset('teacher')}"],
            "the method 'bpm' on 'demo': objective 'bpm' compares the student with the teacher itself, so",
        ),
        (["lora.target_modules=['nope']"], r"\[lora\] does not fit the student .*Target modules .*nope.* not found"),
        (["sft.chat_template_path=x"], "the settings of sft: chat_template_path cannot be set here"),
        (["tasks.sums.validation.k=2"], r"\[tasks.sums.validation\] k = 2 samples of temperature 0"),
        (["methods.dcpa.objective=dcpa"], "there is no objective 'dcpa'"),
        (["methods.dpca.options.credits=first"], "has no option 'credits'"),
        (["methods.dpca.train.max_steps=3"], r"\[methods.dpca.train\] would train dpca on 12 responses on 'demo', and"),
        (
            ["methods.dpca.train.num_iterations=2"],
            "would train dpca on 4 responses on 'demo', and .train. sets 8 for all",
        ),
        (
            ["sft.per_device_train_batch_size=2"],
            r"\[sft\] would train sft on 4 responses on 'demo', and \[train\] sets 8",
        ),
        (
            ["tasks.sums.test.k=16", "tasks.sums.test.temperature=1.0"],
            r"\[tasks.sums.test\] asks for 16 samples of each problem: at most 9",
        ),
        (["tasks.sums.unrelated=none.txt"], r"\[tasks.sums\] unrelated: there is no file none.txt: give a text file"),
        (["tasks.sums.unrelated=blank.txt"], r"\[tasks.sums\] unrelated: .*blank.txt has no text"),
        (["tasks.sums.unrelated=latin.txt"], r"\[tasks.sums\] unrelated: .*latin.txt cannot be read as UTF-8"),
        (["tasks.sums.prompts=none.jsonl"], "none.jsonl"),
        (["tasks.sums.test.task=tests.arena.split_sums:Validation"], "validation and test have 24 problems in common"),
    ],
)
def test_what_cannot_work_is_told_before_the_first_cell(tmp_path, overrides, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.txt").write_text(" \n\n")
    (tmp_path / "latin.txt").write_text("na\u00efve", encoding="latin-1")
    arena = read(tmp_path, *overrides)
    with pytest.raises(InputError, match=message):
        check_arena(arena)


def test_a_teacher_with_another_tokenizer_is_no_control(tmp_path):
    arena = read(tmp_path, "controls=['same_tokenizer']")
    arena.pairs["demo"].same_tokenizer_teacher = arena.pairs["demo"].teacher
    with pytest.raises(InputError, match=r"\[pairs.demo\] same_tokenizer_teacher: .* has another tokenizer"):
        check_arena(arena)


def test_what_is_right_passes_and_hub_ids_are_read_later(tmp_path):
    check_arena(read(tmp_path, "lora.target_modules=['q_proj']"))
    check_models(read(tmp_path, "pairs.demo.teacher=org/model"))
    check_arena(read(tmp_path, *SERVED, "controls=['sft']"))


@pytest.mark.parametrize(("file", "what"), [("prompts", "the training prompts"), ("examples", "the worked examples")])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_problems_that_are_trained_on_are_refused(tmp_path, file, what, split):
    arena = read(tmp_path)
    problem = {"validation": Validation, "test": Test}[split]().all_problems(TaskOptions())[0]
    with (tmp_path / f"{file}.jsonl").open("a") as lines:
        lines.write(json.dumps({"prompt": problem.prompt, "completion": "x"}) + "\n")
    with pytest.raises(InputError, match=f"{what} and {split} have 1 problems in common"):
        check_arena(arena)


def test_which_cells_are_run_and_forgotten():
    running = Running(only=["demo/dpca/*"], again=["*/test-*"], retries_failures=True)
    assert running.takes(DPCA) and running.takes(START) and not running.takes(replace(DPCA, method="sft"))
    tune = replace(DPCA, stage="tune")
    assert running.is_forgotten(outcome(DPCA)) and not running.is_forgotten(outcome(tune))
    assert running.is_forgotten(replace(outcome(tune), status="failed"))
    assert not Running().is_forgotten(replace(outcome(DPCA), status="failed"))
    other = replace(outcome(replace(DPCA, method="sft", stage="tune")), status="failed")
    assert not running.is_forgotten(other)  # it would not be run again
    assert not running.is_forgotten(outcome(replace(DPCA, method="sft")))  # likewise


@pytest.mark.parametrize("option", ["only", "again"])
def test_a_pattern_that_names_no_cell_is_told(tmp_path, option):
    arena, folder = read(tmp_path), ArenaFolder(tmp_path / "out")
    for pattern in ("demo/dpca/*", "demo/seqkd/test-lr0.001-*", "demo/start/model"):
        Running(**{option: [pattern]}).check(arena, folder)
    with pytest.raises(InputError, match=f"--{option} 'demo/dcpa/.' names no cell of this arena.*demo/start/model"):
        Running(**{option: ["demo/dcpa/*"]}).check(arena, folder)


def test_what_is_to_be_run_again_must_be_run(tmp_path):
    arena, folder = read(tmp_path), ArenaFolder(tmp_path / "out")
    Running(only=["demo/dpca/*"], again=["demo/*"]).check(arena, folder)
    Running(only=["demo/dpca/*"], again=["demo/teacher/model"]).check(arena, folder)
    with pytest.raises(InputError, match=r"--again 'demo/seqkd/.' names cells that --only leaves alone, so they would"):
        Running(only=["demo/dpca/*"], again=["demo/seqkd/*"]).check(arena, folder)


def test_a_pattern_that_names_no_cell_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("crossdistill.arena.run.check_arena", lambda arena: None)
    with pytest.raises(InputError, match="--only 'zzz' names no cell of this arena"):
        run_arena(read(tmp_path), tmp_path / "out", Running(only=["zzz"]), print)
    assert not (tmp_path / "out").exists()


def test_a_cell_that_only_the_folder_has_can_be_forgotten(tmp_path):
    arena, folder = read(tmp_path), ArenaFolder(tmp_path / "out")
    with folder.claimed():
        folder.add(outcome(replace(DPCA, rate=0.5)))
    Running(again=["*lr0.5*"]).check(arena, folder)
