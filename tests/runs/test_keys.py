"""The keys of every file: none is missing, each has a meaning, and the defaults are those of the classes."""

import ast
from dataclasses import fields

import pytest
from pydantic_core import PydanticUndefined

from crossdistill.arena.file import ARENA_FILE
from crossdistill.keys.imported import keys_imported
from crossdistill.keys.in_source import keys_in_source
from crossdistill.keys.table import Table
from crossdistill.objectives import available, get
from crossdistill.runs.keys import LORA, OBJECTIVES, REWARD, RUN_FILE, SERVER, SFT_FILE, SFT_TRAIN, TRAIN

TABLES = list({(table.module, table.kind): table for table in (*RUN_FILE, *SFT_FILE, *ARENA_FILE)}.values())
MODELS = [table for table in TABLES if table not in {TRAIN, SFT_TRAIN, LORA, *OBJECTIVES}]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.kind)
def test_every_key_has_a_meaning(table):
    assert not [key.name for key in table.keys if not key.meaning]


@pytest.mark.parametrize("table", [TRAIN, SFT_TRAIN, LORA], ids=lambda table: table.kind)
def test_source_says_what_the_library_does(table):
    """Names, types, defaults and meanings: the import is the slow, obvious twin."""
    read, imported = keys_in_source(table.module, table.kind), keys_imported(table.module, table.kind)
    assert [(key.name, key.meaning, key.owner) for key in read] == [
        (key.name, key.meaning, key.owner) for key in imported
    ]
    for one, other in zip(read, imported, strict=True):
        assert other.default in one.default.split(" or "), one  # a default may depend on what is installed
    assert len(read) > 40


@pytest.mark.parametrize("table", MODELS, ids=lambda table: table.kind)
def test_source_says_what_our_files_take(table):
    known = table.load().model_fields
    assert [key.name for key in keys_in_source(table.module, table.kind)] == list(known)
    for key in table.keys:
        field = known[key.name]
        default = field.get_default(call_default_factory=True)
        if default is PydanticUndefined:
            assert key.default is None, key
        elif not key.default.startswith("list("):
            assert ast.literal_eval(key.default) == default, key
        assert key.meaning == " ".join((field.description or "").split())


def test_nothing_of_our_files_is_left_out():
    assert {table.kind for table in MODELS} >= {"RunConfig", "SFTRunConfig", "ArenaFile", "TeacherTable", "ClaimTable"}
    assert {SERVER, REWARD} <= {*RUN_FILE}
    for table in MODELS:
        assert not table.elsewhere | table.refused


@pytest.mark.parametrize("name", available())
def test_source_says_what_an_objective_takes(name):
    objective = get(name)
    table = next(table for table in OBJECTIVES if table.note == f"of {name}")
    assert [(key.name, ast.literal_eval(key.default)) for key in table.keys] == [
        (field.name, getattr(objective, field.name)) for field in fields(objective) if field.init
    ]


def test_ours_come_first():
    owners = [key.is_ours for key in TRAIN.keys]
    assert owners == sorted(owners, reverse=True)
    assert owners[0] and not owners[-1]


def test_refused_and_other_fields_are_no_keys():
    assert not {*TRAIN.names} & {"output_dir", "objective", "beta"}
    assert Table("train", TRAIN.module, TRAIN.kind).names.count("beta") == 1
