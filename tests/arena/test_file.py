"""The arena's file: what it says, and which mistakes are told."""

import pytest

from crossdistill import InputError
from crossdistill.arena.cell import Cell
from crossdistill.arena.fitting import check_name
from crossdistill.arena.settings import SAME_TOKENIZER_OBJECTIVE, num_responses, problems_of, responses_of, run_config
from crossdistill.arena.tables import CONTROLS, TeacherWritesTable
from crossdistill.runs.config import RunConfig, SFTRunConfig, TeacherTable
from tests.arena.files import TEXT, read, write_file


def test_what_it_names_is_found_beside_it(tmp_path):
    arena = read(tmp_path)
    assert arena.tasks["sums"].prompts == str(tmp_path / "prompts.jsonl")
    assert arena.tasks["sums"].unrelated == str(tmp_path / "unrelated.txt")
    assert arena.task_of("demo") is arena.tasks["sums"]


def test_problems_and_further_teachers_are_found_beside_it(tmp_path):
    (tmp_path / "problems.jsonl").touch()
    (tmp_path / "weaker").mkdir()
    arena = read(tmp_path, "tasks.sums.test.source=problems.jsonl", "methods.dpca.teachers.reference.model=weaker")
    assert arena.tasks["sums"].test.source == str(tmp_path / "problems.jsonl")
    assert arena.methods["dpca"].teachers == {"reference": TeacherTable(model=str(tmp_path / "weaker"))}


def test_all_runs_train_an_adapter_if_it_has_one(tmp_path):
    arena = read(tmp_path, "lora.r=4")
    runs = [run_config(arena, Cell("demo", method, "test", 1e-3, 0)) for method in ("dpca", "sft", "seqkd")]
    assert [run.lora for run in runs] == [{"r": 4}] * 3
    assert run_config(read(tmp_path), Cell("demo", "dpca", "test", 1e-3, 0)).lora is None


def test_hub_ids_and_urls_stay_as_they_are(tmp_path):
    arena = read(tmp_path, "pairs.demo.teacher=http://host:1", "pairs.demo.student=org/model")
    assert (arena.pairs["demo"].teacher, arena.pairs["demo"].student) == ("http://host:1", "org/model")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seeds=[1, 1]", "seeds has one twice"),
        ("seeds=[]", "'seeds'"),
        ("rates=[1e-4, 1e-4]", "rates are distinct and above 0"),
        ("rates=[0.0]", "rates are distinct and above 0"),
        ("rates=[nan]", "rates are distinct and above 0"),
        ("rates=[inf]", "rates are distinct and above 0"),
        ("rates=[1.0000001e-4, 1.0000002e-4]", "rates have at most 6 digits"),
        ("seeds=[-1]", "a seed is from 0 to"),
        ("tuning_seed=4294967296", "a seed is from 0 to"),
        ("train.learning_rate=1e-4", r"\[train\] learning_rate is set by rates"),
        ("methods.dpca.train.learning_rate=1e-4", r"\[methods.dpca.train\] learning_rate is set by rates"),
        ("sft.seed=3", r"\[sft\] seed is set by seeds and tuning_seed"),
        ("pairs.demo.train.seed=3", r"\[pairs.demo.train\] seed is set by seeds and tuning_seed"),
        ("lora.rank=8", r"\[lora\] has no key 'rank'"),
        ("tuning_seed=1", "tuning_seed = 1 is one of the seeds"),
        ("reference=simct", "reference names 'simct', which is not one of dpca"),
        ("methods.sft.objective=dpca", "the method 'sft' has the name of a control"),
        ("methods.a/b.objective=dpca", "the name 'a/b' is no folder's"),
        ("pairs.demo.task=products", r"on the task 'products': write a table \[tasks.products\]"),
        ("train.max_steps=-1", r"\[train\] max_steps = -1 is no number of steps: give an integer above 0"),
        ("train.max_steps=0", r"\[train\] max_steps = 0 is no number of steps"),
        ("train.max_steps=[1]", r"\[train\] max_steps = \[1\] is no number of steps"),
        ("train.max_steps=ten", r"\[train\] max_steps = 'ten' is no number of steps"),
        ("methods.dpca.train.max_steps=true", r"\[methods.dpca.train\] max_steps = True is no number of steps"),
        ("eval_every=3", "eval_every = 3 is more than the 2 steps of 'demo'"),
        ("seeds=[true, 0]", "'seeds.0': input should be a valid integer, got True"),
        ("seeds=['1', 2]", "'seeds.0': input should be a valid integer, got '1'"),
        ("rates=['1e-3']", "'rates.0': input should be a valid number, got '1e-3'"),
        ("rates=[true]", "'rates.0': input should be a valid number, got True"),
        ("reach='0.4'", "'reach': input should be a valid number, got '0.4'"),
        ("tasks.sums.test.limit=true", "'tasks.sums.test.limit': input should be a valid integer, got True"),
        ("controls=['sft', 'sft']", "controls has one twice"),
        ("train.learning_rat=1", r"\[train\] has no key 'learning_rat'"),
        ("sft.learning_rat=1", r"\[sft\] has no key 'learning_rat'"),
        ("sft.max_length=long", r"\[sft\] max_length: input should be a valid integer.*'long'"),
        ("pairs.demo.train.top_p=high", r"\[pairs.demo.train\] top_p: input should be a valid number.*'high'"),
        ("methods.dpca.train.tpo_p=1", r"\[methods.dpca.train\] has no key 'tpo_p'; did you mean 'top_p'"),
        ("train.auto_find_batch_size=true", r"\[train\] auto_find_batch_size cannot be set here, because it would"),
        ("methods.dpca.train.load_best_model_at_end=true", r"\[methods.dpca.train\] load_best_model_at_end cannot"),
        ("sft.num_train_epochs=2", r"\[sft\] num_train_epochs cannot be set here, because max_steps sets"),
        ("pairs.demo.train.push_to_hub=true", r"\[pairs.demo.train\] push_to_hub cannot be set here"),
        ("train.resume_from_checkpoint=x", r"\[train\] resume_from_checkpoint cannot be set here"),
        ("train.eval_strategy=steps", r"\[train\] eval_strategy cannot be set here, because curves are drawn on"),
        ("teacher_writes.teacher=x", "unknown key 'teacher_writes.teacher'"),
        ("teacher_writes.student=x", "unknown key 'teacher_writes.student'"),
        ("teacher_writes.batch_size=0", "'teacher_writes.batch_size': input should be greater than 0"),
        (
            "methods.dpca.teachers.teacher.model=x",
            r"\[methods.dpca.teachers.teacher\] would take the place of the pair",
        ),
        (
            "methods.dpca.teachers.reference.modle=x",
            "unknown key 'methods.dpca.teachers.reference.modle'; did you mean",
        ),
        ("pairs.demo.student=''", "'pairs.demo.student': string should have at least 1 character"),
        ("methods.x.pairs=[]", r"\[methods.x\] pairs is empty: leave it out for all pairs"),
        ("methods.a*.objective=dpca", r"the name 'a\*' is no folder's: use letters, digits, -, _ and dots within"),
        ("methods.[x].objective=dpca", r"the name '\[x\]' is no folder's"),
        ("methods.a b.objective=dpca", "the name 'a b' is no folder's"),
        ("methods.a\nb.objective=dpca", "the name 'a.nb' is no folder's"),
        (f"methods.{'a' * 101}.objective=dpca", "'aaa.* is no folder's: .* at most 100 of them"),
        ("controls=['sdft']", "'controls.0'"),
        ("reach=1.5", "'reach'"),
        ("pairs.demo.techer=x", "unknown key 'pairs.demo.techer'; did you mean 'teacher'"),
        ("tasks.sums.validation.limti=3", "unknown key 'tasks.sums.validation.limti'; did you mean 'limit'"),
        ("methods.x.pairs=['products']", r"\[methods.x\] pairs names 'products', which is not one of \[pairs\]"),
        ("methods.dpca.pairs=['demo']", "the reference 'dpca' must be run on all pairs"),
        ("pairs.other.task=sums", "'pairs.other.student' is missing: Student: a folder or a hub id"),
    ],
)
def test_mistakes_are_told(tmp_path, override, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, override)


def claimed(*sides):
    tables = (f"{{claim='{better} helps', better='{better}', worse='{worse}'}}" for better, worse in sides)
    return f"claims=[{', '.join(tables)}]"


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        ([("dpca", "bmp")], "'dpca helps' names 'bmp', which is no method and no control: dpca, bpm, sft, seqkd"),
        ([("dpca", "dpca")], "'dpca helps' names 'dpca' on both sides: name two"),
        ([("dpca", "bpm"), ("bpm", "dpca")], "'dpca helps' and 'bpm helps' compare the same two, bpm and dpca"),
        ([("dpca", "bpm"), ("dpca", "bpm")], "'dpca helps' and 'dpca helps' compare the same two"),
        ([("dpca", "same_tokenizer")], "names 'same_tokenizer', which controls leaves out: add it there"),
    ],
)
def test_claims_that_cannot_be_answered_are_refused(tmp_path, sides, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, "methods.bpm.objective=bpm", claimed(*sides))


def test_claims(tmp_path):
    assert len(read(tmp_path, "methods.bpm.objective=bpm", claimed(("dpca", "sft"), ("dpca", "bpm"))).claims) == 2


def test_max_steps_must_be_given(tmp_path):
    with pytest.raises(InputError, match=r"\[train\] max_steps is missing"):
        read(tmp_path, text=TEXT.replace("max_steps = 2\n", ""))


def test_what_is_switched_off_may_be_said(tmp_path):
    assert read(tmp_path, "train.eval_strategy=no", "train.push_to_hub=false").train["push_to_hub"] is False


def test_how_the_teacher_writes_is_what_sft_takes(tmp_path):
    arena = read(tmp_path, "teacher_writes.temperature=0.5", "teacher_writes.text_tokens=['<think>']")
    seqkd = run_config(arena, Cell("demo", "seqkd", "test", 1e-3, 0))
    assert (seqkd.max_new_tokens, seqkd.temperature, seqkd.batch_size) == (48, 0.5, 16)
    assert seqkd.text_tokens == ["<think>"]
    for name, field in TeacherWritesTable.model_fields.items():
        known = SFTRunConfig.model_fields[name]
        assert (field.annotation, field.get_default(call_default_factory=True), field.description) == (
            known.annotation,
            known.get_default(call_default_factory=True),
            known.description,
        )


def test_a_task_without_validation_problems_is_refused(tmp_path):
    text = "".join(line for line in TEXT.splitlines(keepends=True) if not line.startswith("validation"))
    with pytest.raises(InputError, match=r"'tasks.sums.validation' is missing: Problems on which rates are tuned"):
        read(tmp_path, text=text)


def test_a_method_s_run(tmp_path):
    arena = read(
        tmp_path,
        "methods.first.objective=dpca",
        "methods.first.options.credit=first",
        "methods.first.train.top_p=0.9",
        "pairs.demo.train.max_completion_length=32",
    )
    config = run_config(arena, Cell("demo", "first", "tune", 1e-3, 100))
    assert isinstance(config, RunConfig)
    assert (config.objective, config.objective_options) == ("dpca", {"credit": "first"})
    expected = {"learning_rate": 1e-3, "seed": 100, "top_p": 0.9, "max_completion_length": 32, "max_steps": 2}
    assert {key: config.train[key] for key in expected} == expected
    assert list(config.eval_tasks) == ["validation"]  # test problems are not seen in training


def test_the_runs_of_the_controls(tmp_path):
    arena = read(tmp_path, "controls=['sft', 'seqkd', 'same_tokenizer']", "sft.max_length=64")
    arena.pairs["demo"].same_tokenizer_teacher = "of the same"
    sft, seqkd, same = (run_config(arena, Cell("demo", control, "test", 1e-3, 0)) for control in CONTROLS)
    assert isinstance(sft, SFTRunConfig) and isinstance(seqkd, SFTRunConfig) and isinstance(same, RunConfig)
    assert (sft.dataset, sft.teacher) == (str(tmp_path / "examples.jsonl"), None)
    assert (seqkd.dataset, seqkd.teacher) == (str(tmp_path / "prompts.jsonl"), arena.pairs["demo"].teacher)
    assert (sft.train["max_steps"], sft.train["max_length"], sft.train["seed"]) == (2, 64, 0)
    assert "max_completion_length" not in sft.train
    assert (same.teacher, same.objective) == ("of the same", SAME_TOKENIZER_OBJECTIVE)


def test_the_budget_in_responses(tmp_path):
    assert num_responses(read(tmp_path, "train.gradient_accumulation_steps=3"), "demo") == 2 * 4 * 3


def test_a_number_in_quotes_is_the_number_that_the_runs_train_with(tmp_path):
    arena = read(tmp_path, "train.per_device_train_batch_size='4'")
    assert num_responses(arena, "demo") == 8 == responses_of(arena, Cell("demo", "dpca", "test", 1e-3, 0))


def test_responses_that_are_trained_on_twice_count_once(tmp_path):
    assert num_responses(read(tmp_path, "train.num_iterations=2"), "demo") == 1 * 4
    arena = read(tmp_path, "methods.twice.objective=dpca", "methods.twice.train.num_iterations=2")
    assert responses_of(arena, Cell("demo", "twice", "test", 1e-3, 0)) == 4
    assert responses_of(arena, Cell("demo", "dpca", "test", 1e-3, 0)) == 8 == num_responses(arena, "demo")


def test_tuning_sees_no_test_problems(tmp_path):
    arena = read(tmp_path)
    assert list(problems_of(arena, Cell("demo", "dpca", "tune", 1e-3, 100))) == ["validation"]
    assert list(problems_of(arena, Cell("demo", "dpca", "test", 1e-3, 0))) == ["validation", "test"]
    assert list(problems_of(arena, Cell("demo", "start", "model"))) == ["validation", "test"]


def test_a_missing_file_is_told(tmp_path):
    from crossdistill.arena.file import read_arena

    with pytest.raises(InputError, match="there is no file"):
        read_arena(tmp_path / "none.toml")
    assert write_file(tmp_path).exists()


def test_names_may_have_dots_within():
    check_name("qwen2.5-under-llama3.1")
    for name in ("..", ".a", "a.", ""):
        with pytest.raises(ValueError, match="is no folder's"):
            check_name(name)
