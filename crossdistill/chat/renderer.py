"""Renders prompts for one model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crossdistill.chat.batch import render_prompts
from crossdistill.chat.history import changed_answers
from crossdistill.chat.messages import Prompt
from crossdistill.chat.refusal import TemplateRefusalError
from crossdistill.chat.template import render_prompt


@dataclass(frozen=True)
class PromptRenderer:
    """One model's way to render prompts.

    Attributes:
        tokenizer: a Hugging Face tokenizer with a chat template.
        template_kwargs: keyword arguments of the template.
        tools: functions or JSON schemas that the template shows to the model.
    """

    tokenizer: Any
    template_kwargs: dict[str, Any]
    tools: Sequence[Any]

    @property
    def chat_template(self) -> Any:
        """The source of the template; several by name for some tokenizers."""
        return self.template_kwargs.get("chat_template", self.tokenizer.chat_template)

    def render(self, prompt: Prompt, has_sampled_text: bool = False) -> list[int]:
        """Token ids of a prompt; see :func:`crossdistill.chat.render_prompt`."""
        return render_prompt(self.tokenizer, prompt, self.template_kwargs, self.tools, has_sampled_text)

    def render_all(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Token ids of prompts that no model wrote, at once; see :func:`crossdistill.chat.batch.render_prompts`."""
        return render_prompts(self.tokenizer, prompts, self.template_kwargs, self.tools)

    def changes(self, prompt: Prompt) -> bool:
        """Whether the template changes an earlier answer; False if it refuses the conversation."""
        try:
            return bool(changed_answers(self.tokenizer, prompt, self.template_kwargs, self.tools))
        except TemplateRefusalError:
            return False
