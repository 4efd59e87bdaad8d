"""Everything about a run that is known before weights are read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from crossdistill.chat import ensure_template
from crossdistill.chat.messages import Prompt
from crossdistill.chat.text_tokens import check_text_tokens
from crossdistill.inspection.choice import AUTO
from crossdistill.objectives import get
from crossdistill.train import checks
from crossdistill.train.config import CrossTokenizerConfig
from crossdistill.train.loading import load_tokenizer
from crossdistill.train.tools import check_tools
from crossdistill.train.turns import Side


@dataclass(frozen=True)
class Setup:
    """student, teacher: folders, hub ids, models or (teacher) a Teacher. tokenizer, teacher_tokenizer: theirs; None
    where a Teacher brings its own. teacher_kwargs: of its chat template. looked_at: prompts that were rendered.
    """

    student: Any
    teacher: Any
    tokenizer: Any
    teacher_tokenizer: Any
    teacher_kwargs: dict[str, Any]
    looked_at: list[Prompt]

    @classmethod
    def of(
        cls,
        model: Any,
        teacher: Any,
        args: CrossTokenizerConfig,
        datasets: tuple[Any, Any],
        tokenizers: tuple[Any, Any],
        tools: list[Callable[..., Any]] | None,
    ) -> "Setup":
        """Check it all; datasets: of training and evaluation. tokenizers: of student and teacher, where given.

        Raises InputError for what cannot work.
        """
        model, teacher = (str(name) if isinstance(name, Path) else name for name in (model, teacher))
        checks.check_inputs(model, teacher, args, *datasets)
        if not isinstance(teacher, str | torch.nn.Module) and args.objective != AUTO:
            checks.check_signal(get(args.objective, **(args.objective_options or {})), teacher)
        hub = {side: checks.hub_options(args, side) for side in ("student", "teacher")}
        tokenizer = load_tokenizer(model, "student", tokenizers[0], padding_side="left", **hub["student"])
        theirs = tokenizers[1]
        if isinstance(teacher, str | torch.nn.Module):
            theirs = load_tokenizer(teacher, "teacher", theirs, **hub["teacher"])
        ensure_template(tokenizer)
        shown = teacher.tokenizer if theirs is None else theirs
        ensure_template(shown)
        teacher_kwargs = cast(dict[str, Any], args.teacher_chat_template_kwargs or {})
        sides = {
            "student": Side(tokenizer, cast(dict[str, Any], args.chat_template_kwargs or {}), tools or []),
            "teacher": Side(shown, teacher_kwargs, tools or []),
        }
        check_text_tokens(args.text_tokens or [], {name: side.tokenizer for name, side in sides.items()})
        if tools:
            check_tools(sides["student"], sides["teacher"])
        contexts = {
            "student": checks.context_of(model, **hub["student"]),
            "teacher": checks.context_of(teacher, **hub["teacher"]),
        }
        looked_at = checks.check_conversations(sides, contexts, datasets, args.max_completion_length)
        checks.check_weights(model)
        checks.check_weights(teacher)
        return cls(model, teacher, tokenizer, theirs, teacher_kwargs, looked_at)
