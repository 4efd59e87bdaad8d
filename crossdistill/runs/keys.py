"""The tables of run files, and the classes that their keys are the fields of."""

from crossdistill.keys.table import Table
from crossdistill.objectives.names import HOMES
from crossdistill.train.unsupported import UNSUPPORTED, UNSUPPORTED_IN_SFT

TRAIN = Table(
    "train",
    "crossdistill.train.config",
    "CrossTokenizerConfig",
    elsewhere=frozenset(
        {
            *("output_dir", "objective", "objective_options"),  # set elsewhere
            "max_tool_calling_iterations",  # tools are functions, which only Python can give
        }
    ),
    refused=frozenset(UNSUPPORTED),
)
SFT_TRAIN = Table(
    "train", "trl", "SFTConfig", elsewhere=frozenset({"output_dir"}), refused=frozenset(UNSUPPORTED_IN_SFT)
)
LORA = Table("lora", "peft", "LoraConfig")
SERVER = Table("train.teacher_server", "crossdistill.teachers.served.options", "ServedOptions")
REWARD = Table("train.reward_options", "crossdistill.train.reward.choice", "RewardOptions")
TEACHERS = Table("teachers.NAME", "crossdistill.runs.config", "TeacherTable")
EVAL_TASKS = Table("eval_tasks.NAME", "crossdistill.runs.eval_tasks", "EvalTaskTable")


def _options_of(objective: str) -> Table:
    module, kind = HOMES[objective].split(":")
    return Table("objective_options", f"crossdistill.objectives.{module}", kind, note=f"of {objective}")


OBJECTIVES = tuple(map(_options_of, HOMES))

RUN_FILE = (
    Table("", "crossdistill.runs.config", "RunConfig"),
    TEACHERS,
    TRAIN,
    EVAL_TASKS,
    LORA,
    *OBJECTIVES,
    SERVER,
    REWARD,
)
"""Tables of the file of ``crossdistill train``."""
SFT_FILE = (Table("", "crossdistill.runs.config", "SFTRunConfig"), SFT_TRAIN, EVAL_TASKS, LORA)
"""Tables of the file of ``crossdistill sft``."""


def meanings(table: Table) -> dict[str, str]:
    """Keys of a table -> their meaning.

    Example:
        >>> meanings(TEACHERS)["tokenizer"]
        'Its tokenizer, for a URL: a folder or a hub id.'
    """
    return {key.name: key.meaning for key in table.keys}
