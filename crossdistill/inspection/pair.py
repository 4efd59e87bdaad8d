"""Inspection of a pair of models before a run, from tokenizers and configurations alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossdistill.chat import mismatch_findings, template_findings
from crossdistill.chat.own_template import NO_TEMPLATE, teacher_findings
from crossdistill.findings import Finding
from crossdistill.inspection.advice import Advice, advice
from crossdistill.inspection.documents import Document
from crossdistill.inspection.examples import (
    ChunkExample,
    NeverOneToOne,
    Rewrite,
    largest_chunks,
    never_one_to_one,
    student_rewrites,
    teacher_rewrites,
)
from crossdistill.inspection.measure import Measure, ReadDocument, read_documents
from crossdistill.inspection.model_info import ModelFacts, ModelInfo, facts
from crossdistill.inspection.overlap import Overlap, overlap
from crossdistill.inspection.vocab_findings import coverage_findings, thinking_findings
from crossdistill.objectives import Objective
from crossdistill.tokens import ByteVocab

NUM_EXAMPLES = 12
_NUM_OF_CATEGORY = 2


@dataclass(frozen=True)
class Inspection:
    """The result of :func:`inspect_pair`.

    Attributes:
        student: facts about the student.
        teacher: facts about the teacher.
        overlap: entries that the vocabularies share.
        total: measures on all documents.
        categories: category -> measures on its documents.
        documents: title ("languages/thai") -> measures on that document.
        largest: the largest chunks of all documents, then the largest of each category.
        never_one_to_one: student tokens that occur and are never in a 1:1 chunk, most frequent first.
        student_rewrites: text that the student's own normaliser changes.
        teacher_rewrites: text that the teacher's own normaliser changes.
        findings: what a run would warn of, or note; of the data it knows nothing, so every conversation counts.
        own_objectives: objectives of the user's, to describe in addition to those that come with the package.
    """

    student: ModelFacts
    teacher: ModelFacts
    overlap: Overlap
    total: Measure
    categories: Mapping[str, Measure]
    documents: Mapping[str, Measure]
    largest: Sequence[ChunkExample]
    never_one_to_one: Sequence[NeverOneToOne]
    student_rewrites: Sequence[Rewrite]
    teacher_rewrites: Sequence[Rewrite]
    findings: Sequence[Finding]
    own_objectives: Sequence[Objective] = ()

    @property
    def advice(self) -> list[Advice]:
        """How much of the pair each objective can use."""
        return [*advice(self.total), *advice(self.total, self.own_objectives)]

    @property
    def expected_coverage(self) -> float:
        """Share of the student's bytes that the teacher can supervise; the coverage guard of a run starts from it."""
        return self.total.coverage


def inspect_pair(
    student: ModelInfo,
    teacher: ModelInfo,
    documents: Sequence[Document] | None = None,
    own_objectives: Sequence[Objective] = (),
) -> Inspection:
    """Inspect a pair of models.

    Args:
        student: read without weights.
        teacher: read without weights.
        documents: to measure the pair on; the shipped corpus by default.
        own_objectives: objectives of your own to describe, in addition to those that come with the package.

    Returns:
        Facts about both models, and measures and examples on the documents.

    Example:
        The two models that come with the package::

            >>> from crossdistill.demo.run import asset
            >>> from crossdistill.inspection.documents import Document
            >>> from crossdistill.inspection.model_pair import read_pair
            >>> models = read_pair(asset("student"), asset("teacher"))
            >>> pair = inspect_pair(*models, [Document("sums", "one", b"one hundred and twenty is")])
            >>> pair.expected_coverage, pair.total.largest_chunk
            (1.0, (2, 1))
    """
    read = read_documents(student.vocab, teacher.vocab, documents)
    categories: dict[str, list[ReadDocument]] = {}
    for item in read:
        categories.setdefault(item.document.category, []).append(item)
    ours, theirs = student.tokenizer.get_vocab(), teacher.tokenizer.get_vocab()
    student_facts, teacher_facts = facts(student, ours), facts(teacher, theirs)
    return Inspection(
        student=student_facts,
        teacher=teacher_facts,
        overlap=overlap(student.vocab, teacher.vocab, ours, theirs),
        total=Measure.of(read),
        categories={name: Measure.of(items) for name, items in categories.items()},
        documents={item.document.title: Measure.of([item]) for item in read},
        largest=_largest(categories, student.vocab, teacher.vocab),
        never_one_to_one=never_one_to_one(read, student.vocab),
        student_rewrites=student_rewrites(read, student.vocab),
        teacher_rewrites=teacher_rewrites(read, teacher.vocab),
        findings=[
            *model_findings(student, student_facts, "student"),
            *model_findings(teacher, teacher_facts, "teacher"),
            *([] if student_facts.has_template else [NO_TEMPLATE()]),
            *teacher_findings("teacher", teacher.name, teacher_facts.has_template, teacher_facts.stops),
            *mismatch_findings(student_facts.effects, teacher_facts.effects),
            *coverage_findings(student.vocab, teacher.vocab),
        ],
        own_objectives=own_objectives,
    )


def model_findings(model: ModelInfo, known: ModelFacts, side: str) -> list[Finding]:
    """What a run would warn of, or note, about one model of a pair."""
    return [*model.findings, *template_findings(known.effects, side), *thinking_findings(model.tokenizer, side)]


def _largest(
    categories: Mapping[str, Sequence[ReadDocument]], student: ByteVocab, teacher: ByteVocab
) -> list[ChunkExample]:
    """The largest chunks of all documents, then the largest of each category that are not among them."""
    everything = [item for items in categories.values() for item in items]
    found = largest_chunks(everything, student, teacher, NUM_EXAMPLES)
    for items in categories.values():
        found += [
            example for example in largest_chunks(items, student, teacher, _NUM_OF_CATEGORY) if example not in found
        ]
    return found
