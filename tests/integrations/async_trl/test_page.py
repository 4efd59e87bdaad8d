"""The code of the page runs, with models in this process in place of servers."""

from typing import Any

from tests.integrations.async_trl.conftest import load
from tests.models import MESSAGES, Pair
from tests.snippets import blocks

PAGE = "docs/asynchronous.md"
SMALL = "use_cpu=True, bf16=False, activation_checkpointing=False, max_steps=1, save_strategy='no', report_to='none', "
INSTEAD = {
    "from trl.experimental.async_distillation": "from crossdistill.integrations.async_trl.trainer",  # it warns
    'ServedTeacher("http://teacher:8000", ': "LocalTeacher(load(TEACHER), ",
    "import ServedTeacher": "import LocalTeacher",
    'ServedSampler("http://student:8000", distiller, max_tokens=16384)': (
        "LocalSampler(load(STUDENT), distiller.stop_ids, 8)"
    ),
    "RolloutWorker, ServedSampler": "LocalSampler, RolloutWorker",
    '"out", max_staleness=4, per_device_train_batch_size=1, gradient_accumulation_steps=32,': (
        f"OUT, max_staleness=4, per_device_train_batch_size=1, gradient_accumulation_steps=2, {SMALL}"
    ),
    "AsyncTrainer(STUDENT, worker, args).train()": (
        "trainer = AsyncTrainer(STUDENT, worker, args, weight_transfer=sampler)\ntrainer.train()"
    ),
}


def test_the_code_of_the_page_runs(pair: Pair, output: Any) -> None:
    (code,) = blocks(PAGE, "python")
    for shown, own in INSTEAD.items():
        assert code.count(shown) == 1, shown
        code = code.replace(shown, own)
    rows = [{"prompt": prompt} for prompt in MESSAGES]
    scope: dict[str, Any] = {"load": load, "rows": rows, "OUT": str(output)}
    scope |= {"STUDENT": pair.student, "TEACHER": pair.teacher}
    exec(compile(code, PAGE, "exec"), scope)
    assert scope["trainer"].state.global_step == 1
