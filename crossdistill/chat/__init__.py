"""One conversation, rendered for each model: its own template, its own stop tokens, the exact span of the response."""

from crossdistill.chat.effects import TemplateEffects, template_effects
from crossdistill.chat.findings import mismatch_findings, template_findings
from crossdistill.chat.refusal import TemplateRefusalError
from crossdistill.chat.response import Response, split_response
from crossdistill.chat.stop import stop_ids, token_name
from crossdistill.chat.template import PLAIN_TEMPLATE, ensure_template, render_prompt

__all__ = [
    "PLAIN_TEMPLATE",
    "Response",
    "TemplateEffects",
    "TemplateRefusalError",
    "ensure_template",
    "mismatch_findings",
    "render_prompt",
    "split_response",
    "stop_ids",
    "template_effects",
    "template_findings",
    "token_name",
]
