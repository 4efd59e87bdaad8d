"""Turns of a conversation with tools, as the report shows them."""

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
