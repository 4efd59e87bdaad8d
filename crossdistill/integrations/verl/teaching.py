"""From the options to teachers and distillers, one set for all samplers of a process."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from crossdistill.chat import ensure_template
from crossdistill.chat.text_tokens import check_text_tokens
from crossdistill.distill import Distiller
from crossdistill.distill.checks import scoring_temperature
from crossdistill.errors import InputError
from crossdistill.extras import require
from crossdistill.findings import FindingLog
from crossdistill.inspection.model_files import declared_stops, num_ids, read_tokenizer
from crossdistill.inspection.model_name import is_url
from crossdistill.inspection.same_model import check_teachers
from crossdistill.inspection.vocab_findings import coverage_findings, thinking_findings
from crossdistill.integrations.verl.options import VerlOptions
from crossdistill.runs.config import TeacherTable
from crossdistill.teachers import LocalTeacher, Teacher
from crossdistill.tokens import ByteVocab
from crossdistill.train.preflight.tokenizers import load_tokenizer

Tools = Sequence[Mapping[str, Any]]


@dataclass
class Teaching:
    """The teachers of a run, and the distillers that they score for.

    Attributes:
        options: of the run.
        student: folder or hub id of the student.
        tokenizer: the student's.
        template_kwargs: of the student's chat template.
        temperature: of the sampling.
        findings: what was found that does not end the run.
    """

    options: VerlOptions
    student: str
    tokenizer: Any
    template_kwargs: Mapping[str, Any]
    temperature: float
    findings: FindingLog = field(default_factory=FindingLog)
    _distillers: dict[str, Distiller] = field(default_factory=dict)

    def distiller(self, tools: Tools = ()) -> Distiller:
        """The distiller of conversations in which these tools are offered.

        Args:
            tools: JSON schemas.

        Raises:
            InputError: a pair that cannot work, or a server that cannot teach.
            TeacherError: a server does not answer.
        """
        key = json.dumps(list(tools), sort_keys=True)
        if key not in self._distillers:
            self._distillers[key] = self._make(tools)
        return self._distillers[key]

    @cached_property
    def teachers(self) -> dict[str, Teacher]:
        """By name; a local one is loaded, the server of another one is probed."""
        return {name: self._teacher(name, table) for name, table in self.options.named_teachers.items()}

    def vocabs(self) -> tuple[ByteVocab, list[ByteVocab]]:
        """The vocabularies of the student and of each teacher, which no server is asked for."""
        words = self.options.text_tokens
        student = ByteVocab.from_tokenizer(self.tokenizer, num_ids(self.student), words)
        tokenizers = [_tokenizer_of(table) for table in self.options.named_teachers.values()]
        return student, [ByteVocab.from_tokenizer(one, text_tokens=words) for one in tokenizers]

    def check(self) -> None:
        """Check what can be known before a model is loaded: tokenizers, vocabularies, and the servers of teachers.

        Raises:
            InputError: a pair that cannot work, or a server that cannot teach.
            TeacherError: a server does not answer.
        """
        options = self.options
        check_teachers(self.student, [table.model for table in options.named_teachers.values()])
        load_tokenizer(self.student, "student", self.tokenizer, self.findings)
        words = options.text_tokens
        tokenizers = {name: _tokenizer_of(table) for name, table in options.named_teachers.items()}
        check_text_tokens(words, {"student": self.tokenizer, **tokenizers})
        self.findings.add_all(thinking_findings(self.tokenizer, "student", words))
        student, vocabs = self.vocabs()
        for name, vocab in zip(options.named_teachers, vocabs, strict=True):
            self.findings.add_all(coverage_findings(student, vocab, f"teacher {name!r}"))
        if all(is_url(table.model) for table in options.named_teachers.values()):
            self.distiller()

    def _make(self, tools: Tools) -> Distiller:
        options = self.options
        kwargs = options.teacher_chat_template_kwargs
        ready = next(iter(self._distillers.values()), None)
        size = num_ids(self.student)
        return Distiller(
            self.tokenizer,
            self.teachers,
            options.make_objective(),
            vocab_size=size,
            declared_stops=declared_stops(self.student, size),
            stop_unit=options.stop_unit,
            temperature=self.temperature,
            routing=options.routing,
            template_kwargs=self.template_kwargs,
            teacher_template_kwargs=kwargs or None,
            tools=list(tools) or None,
            text_tokens=options.text_tokens,
            pairs=None if ready is None else ready.pairs,
        )

    def _teacher(self, name: str, table: TeacherTable) -> Teacher:
        teacher = self._served(name, table) if is_url(table.model) else self._local(table)
        teacher.set_temperature(scoring_temperature(self.options.make_objective(), self.temperature))
        return teacher

    def _served(self, name: str, table: TeacherTable) -> Teacher:
        require("served", user="a teacher behind a server")
        from crossdistill.teachers.served import ScoreCache, ServedTeacher, served_options

        options, tokenizer = self.options, _tokenizer_of(table)
        cache = options.teacher_cache
        return ServedTeacher(
            table.model,
            tokenizer,
            served_options(options.of_teacher(name, options.teacher_server)),
            options.text_tokens,
            cache=None if cache is None else ScoreCache(Path(cache), options.teacher_cache_mib),
            declared_stops=declared_stops(table.tokenizer or ""),
        )

    def _local(self, table: TeacherTable) -> Teacher:
        """In memory of the sampler's process, on the CPU: for a small teacher."""
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(table.model, dtype="auto").eval()
        return LocalTeacher(
            model,
            _tokenizer_of(table),
            self.options.teacher_batch_tokens,
            text_tokens=self.options.text_tokens,
        )


def _tokenizer_of(table: TeacherTable) -> Any:
    """The tokenizer of a teacher.

    Raises:
        InputError: it is not named, or cannot be read.
    """
    if not is_url(table.model):
        return load_tokenizer(table.model, "teacher", table.tokenizer)
    if table.tokenizer is None:
        raise InputError(
            f"the teacher at {table.model} needs its tokenizer on this machine: name its folder or hub id "
            "(crossdistill.teacher_tokenizer, or crossdistill.teachers.NAME.tokenizer)."
        )
    tokenizer = read_tokenizer(table.tokenizer)
    ensure_template(tokenizer)
    return tokenizer
