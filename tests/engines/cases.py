"""The cases that every engine must train as one process does."""

from crossdistill.objectives import available
from tests.engines.case import Case

SMALL_RATE = {"learning_rate": 1e-4}  # the heads of bld learn a hundred times as fast


def objectives(teacher_of_one_vocabulary: str) -> list[Case]:
    """Each objective, and the credit that reads the teacher's distribution."""
    teachers = {"gkd": teacher_of_one_vocabulary}
    needed = {"bld": SMALL_RATE, "gvpo": {"num_generations": 2}}
    cases = [Case(name, name, teacher=teachers.get(name), options=needed.get(name, {})) for name in available()]
    return [*cases, Case("dpca-marginal", objective_options={"credit": "marginal"})]


def students(untied: str) -> list[Case]:
    """Heads, adapters, several steps on a rollout and several passes in a step."""
    return [
        Case("untied", "bpm", student=untied),
        Case("lora", "bpm", lora=True),
        Case("several-steps", options={"num_iterations": 2, "max_steps": 4, "learning_rate": 0.02}),
        Case("recomputed", "bpm", options={"activation_checkpointing": True}),
        Case("clipped", options={"max_grad_norm": 0.01}),
        Case("micro-batches", "bpm", options={"micro_batch_tokens": 60}),
        Case("portions", options={"min_padding_saved": 0.0}),
        Case("half-dropped", options={"low_coverage": "ignore"}, fault="half_dropped"),
    ]


FSDP = {
    "head-by-itself": {"FSDP_TRANSFORMER_CLS_TO_WRAP": "Qwen3DecoderLayer,Linear"},
    "recomputed-by-fsdp": {"FSDP_ACTIVATION_CHECKPOINTING": "true"},
    "loaded-by-one": {"FSDP_CPU_RAM_EFFICIENT_LOADING": "true", "FSDP_SYNC_MODULE_STATES": "true"},
    "kept-after-forward": {"FSDP_RESHARD_AFTER_FORWARD": "false"},
}
"""Name -> variables of FSDP alone; one process ignores them."""


def of_fsdp(untied: str) -> list[Case]:
    """What FSDP2 can be told."""
    return [
        Case(f"{name}-{head}", "bpm", student=student, environment=variables)
        for name, variables in FSDP.items()
        for head, student in {"tied": None, "untied": untied}.items()
        if (name, head) != ("head-by-itself", "tied")
    ]


def of_zero3() -> list[Case]:
    """What ZeRO-3 can be told."""
    return [Case("never-whole", "bpm", options={"ds3_gather_for_generation": False})]
