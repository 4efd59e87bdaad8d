"""Turns of a conversation with tools, as the report shows them."""

import base64
from dataclasses import replace

from crossdistill.runs.train import sample_row
from crossdistill.runs.views import response_view
from tests.train import tool_use as use


def test_a_turn_after_a_tools_result(pair, output, monkeypatch):
    trainer = use.trainer_with_tools(pair, output, monkeypatch)
    first, second = (response_view(trainer, item, item.prompt) for item in trainer.score_prompts([use.QUESTION]))
    assert first.prompt == "user: 1+2?"
    assert second.prompt == "user: 1+2?\nassistant: add({'a': 1, 'b': 2})\ntool: 3"
    for view, said in ((first, use.call(1)), (second, "It is 3.")):
        *text, stop = view.chunks
        assert "".join(token.text for chunk in text for token in chunk.student) == said.replace(" ", "␣")
        assert (stop.student[0].text, stop.teacher[0].text) == (use.END, "end of turn")


def test_a_row_of_samples_keeps_the_bytes(pair, output, monkeypatch):
    trainer = use.trainer_with_tools(pair, output, monkeypatch)
    scored, _ = trainer.score_prompts([use.QUESTION])
    response = replace(scored.response, data=b"4 \xe4\xbd")
    broken = replace(scored, aligned=replace(scored.aligned, response=response))
    row = sample_row(broken, "why?")
    assert row["response"] == r"4 \xe4\xbd"
    assert base64.b64decode(row["bytes"]) == b"4 \xe4\xbd"
    assert row["ids"] == scored.response.ids.tolist()
