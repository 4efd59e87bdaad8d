"""One conversation as each model reads it: its own template, its own stop tokens, the response's exact span."""

from crossdistill.chat.response import Response, split_response
from crossdistill.chat.stop import stop_ids
from crossdistill.chat.template import PLAIN_TEMPLATE, ensure_template, render_prompt

__all__ = ["PLAIN_TEMPLATE", "Response", "ensure_template", "render_prompt", "split_response", "stop_ids"]
