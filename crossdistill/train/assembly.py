"""From a checked setup and loaded models to the distiller of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill import Distiller
from crossdistill.distill.checks import scoring_temperature
from crossdistill.distill.scorer import pair_of
from crossdistill.inspection.choice import AUTO, Choice
from crossdistill.objectives import get
from crossdistill.ops import full_shape
from crossdistill.teachers import Teacher
from crossdistill.tokens import ByteVocab
from crossdistill.train.config import CrossTokenizerConfig
from crossdistill.train.preflight.objective import choice_for
from crossdistill.train.preflight.setup import Setup


def distiller_of(
    setup: Setup,
    args: CrossTokenizerConfig,
    teachers: Mapping[str, Teacher],
    student: Any,
    renderer: PromptRenderer,
    student_stop_ids: Sequence[int],
) -> tuple[Distiller, Choice]:
    """The distiller of a run, and its objective's name, options and reason.

    Teachers that the run loaded are set to the temperature at which the objective compares; one that was given as an
    object has its own.

    Args:
        setup: what is known before weights are read.
        args: the configuration.
        teachers: by name.
        student: the model that is trained, unwrapped; an objective's auxiliary heads are attached to it.
        renderer: renders the student's prompts.
        student_stop_ids: the token ids that end the student's turns.
    """
    size = full_shape(student.get_input_embeddings().weight)[0]
    vocab = ByteVocab.from_tokenizer(setup.tokenizer, size, args.text_tokens or ())
    pairs = {name: pair_of(vocab, student_stop_ids, teacher, args.stop_unit) for name, teacher in teachers.items()}
    mixes = setup.routing.mixes or args.reward is not None
    choice = choice_for(args, [(teacher, pairs[name]) for name, teacher in teachers.items()], mixes)
    objective = get(choice.objective, **choice.options) if args.objective == AUTO else args.make_objective()
    for name, teacher in teachers.items():
        if teacher is not setup.teachers[name].model:
            teacher.set_temperature(scoring_temperature(objective, args.temperature))
    kwargs = {name: one.template_kwargs for name, one in setup.teachers.items()}
    distiller = Distiller(
        setup.tokenizer,
        teachers,
        objective,
        student=student,
        declared_stops=student_stop_ids,
        temperature=args.temperature,
        routing=setup.routing,
        template_kwargs=renderer.template_kwargs,
        teacher_template_kwargs=kwargs if len(kwargs) > 1 else next(iter(kwargs.values())),
        tools=renderer.tools or None,
        reward_weight=args.reward_weight,
        pairs=pairs,
    )
    return distiller, choice
