"""Conversations with tools: every turn scored under what was said before it, as each model's own template shows it."""

import numpy as np
import pytest
import torch
from trl.chat_template_utils import qwen3_chat_template

from crossdistill.align import Coverage, DropReason
from crossdistill.distill.policy_drift import Numerics
from crossdistill.train import verifying
from crossdistill.train.vllm.sync_probe import SyncProbe
from tests.oracles import credit as credit_oracle
from tests.train import tool_use as use
from tests.train.harness import BATCH, load, sampled_logprobs, watched

TOOLS_SHOWN = "<bos><turn>tools\nadd\n<stop>\n"
ASKED = TOOLS_SHOWN + "<turn>user\n1+2?<stop>\n<turn>assistant\n"
ANSWERED = ASKED + use.in_teachers_form(1) + "<stop>\n<turn>tool\n3<stop>\n<turn>assistant\n"


@pytest.fixture(scope="module")
def trained(pair, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        trainer = use.trainer_with_tools(pair, tmp_path_factory.mktemp("trained"), patch)
        trainer.requests = watched(trainer)
        trainer.batches = []
        generate = trainer._generate_and_score_completions

        def kept(inputs):
            trainer.batches.append(generate(inputs))
            return trainer.batches[-1]

        trainer._generate_and_score_completions = kept
        trainer.train()
    return trainer


def text(trainer, request):
    return trainer.teacher.tokenizer.decode(request.prompt_ids)


def test_the_teacher_reads_every_turn_in_its_own_form(trained):
    assert [text(trained, request) for request in trained.requests] == [ASKED, ANSWERED] * BATCH
    decode = trained.teacher.vocab.decode
    assert [decode(request.response_ids).decode() for request in trained.requests[:2]] == [use.call(1), "It is 3."]
    assert all(request.stopped for request in trained.requests)


def test_the_sampled_ids_are_supervised_and_the_tool_results_are_not(trained):
    student = trained.processing_class
    (batch,) = trained.batches
    suffix = f"<|user|>=3{use.END}<|assistant|>"
    pieces = [use.call(1) + use.END, suffix, f"It is 3.{use.END}"]
    sizes = [len(student(piece, add_special_tokens=False)["input_ids"]) for piece in pieces]
    assert batch["completion_mask"].sum(1).tolist() == [sum(sizes)] * BATCH
    expected = [True] * sizes[0] + [False] * sizes[1] + [True] * sizes[2]
    assert batch["loss_mask"].tolist() == [expected] * BATCH
    assert student.decode(batch["completion_ids"][0]) == "".join(pieces)
    assert batch["num_items_in_batch"] == BATCH * (sizes[0] + sizes[2])


def test_every_turn_has_the_credit_of_both_models_log_probabilities(pair, trained):
    student, teacher = load(pair.student), load(pair.teacher)
    stop = trained.teacher.tokenizer.eos_token_id
    (batch,) = trained.batches
    ids = batch["input_ids"][0][: int(batch["attention_mask"][0].sum())].tolist()
    prompt, edges = int(batch["prompt_lengths"][0]), np.flatnonzero(np.diff([0, *batch["loss_mask"][0].int(), 0]))
    for index, item in enumerate(trained.scored[:2]):
        start, end = (prompt + edge for edge in edges[2 * index : 2 * index + 2])
        assert item.response.ids.tolist() == ids[start:end]
        request = trained.requests[index]
        with torch.no_grad():
            log_p = sampled_logprobs(student, ids[:start], ids[start:end]).tolist()
            log_q = sampled_logprobs(teacher, request.prompt_ids, [*request.response_ids, stop]).tolist()
        np.testing.assert_allclose(item.student_logprobs, log_p, rtol=1e-4, atol=5e-5)
        alignment = item.alignment
        expected = credit_oracle.credit(
            log_p[:-1], log_q[:-1], alignment.student_splits, alignment.teacher_splits, "semantic_prior"
        )
        expected = np.clip([*expected, log_q[-1] - log_p[-1]], -10, 10)
        np.testing.assert_allclose(item.advantages, expected, rtol=1e-3, atol=1e-3)
        assert item.mask.all()


def test_loss_figures_and_ledger(trained):
    (batch,), (step,) = trained.batches, trained.steps
    values = np.concatenate([item.advantages[item.mask] for item in trained.scored])
    assert step["loss"] == pytest.approx(-values.mean(), rel=1e-3)
    sampled, given = int(batch["loss_mask"].sum()), int((batch["completion_mask"] & ~batch["loss_mask"]).sum())
    assert (step["turns"], step["tool_tokens"]) == (2, given / BATCH)
    assert (step["response_tokens"], step["stopped"], step["coverage"]) == (sampled / BATCH, 1, 1)
    assert step["tools/call_frequency"] == 1
    per_row = [trained.scored[2 * row : 2 * row + 2] for row in range(BATCH)]
    gap = sum(item.gap_nats for row in per_row for item in row) / sum(item.gap_bytes for row in per_row for item in row)
    assert step["teacher_gap"] == pytest.approx(gap)
    assert step["teacher_gap_se"] == pytest.approx(0, abs=1e-6)  # of conversations, which are all alike here
    ledger = trained.total_usage().as_dict()
    assert ledger["coverage"]["sampled_tokens"] == ledger["coverage"]["supervised_tokens"] == sampled
    assert ledger["tokens"]["student_step"] == int(batch["attention_mask"].sum())
    assert ledger["tokens"]["teacher_prefill"] == sum(
        len(request.prompt_ids) + len(request.response_ids) for request in trained.requests
    )


def test_the_teachers_template_shows_the_call_in_its_own_form_so_no_answer_counts_as_changed(trained):
    """Where the student's words are shown as they were, nothing is reported."""
    (step,) = trained.steps
    assert step["history_changed/teacher"] == 0
    assert "history_changed/student" not in step  # its prompts have no earlier answers


def test_rows_of_one_and_of_two_turns(pair, output, monkeypatch):
    nine = [{"role": "user", "content": "9?"}]
    trainer = use.trainer_with_tools(pair, output, monkeypatch, prompts=[use.QUESTION, nine] * 2)
    trainer.train()
    spoken = [item.response.data.decode() for item in trainer.scored]
    assert sorted(spoken) == sorted([use.call(1), "It is 3.", "nine"] * 2)
    assert trainer.steps[0]["turns"] == 1.5
    assert trainer.steps[0]["stopped"] == 1


def test_score_prompts_has_one_result_a_turn(pair, output, monkeypatch):
    trainer = use.trainer_with_tools(pair, output, monkeypatch)
    first, second = trainer.score_prompts([use.QUESTION])
    assert first.prompt == use.QUESTION
    assert [message["role"] for message in second.prompt] == ["user", "assistant", "tool"]
    assert second.prompt[2]["content"] == "3"
    assert use.QUESTION == [{"role": "user", "content": "1+2?"}]  # it is the user's


@pytest.mark.parametrize("accumulation", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_log_probabilities_of_vllm_find_their_turns(pair, output, monkeypatch, accumulation):
    """Each engine call holds only the conversations that go on, and the same prefix may stand in several rows."""
    monkeypatch.setattr(verifying, "OTHER_ENGINE", Numerics(100.0))  # the log-probabilities tell places, not a policy
    monkeypatch.setattr(SyncProbe, "is_stale", lambda *args: False)  # it asks a question of its own
    nine = [{"role": "user", "content": "9?"}]
    calls = []

    def logprob(prompt, ids):
        calls.append((prompt, ids))
        return [-0.01 * (len(prompt) + place + 1) for place in range(len(ids))]

    trainer = use.trainer_with_tools(
        pair,
        output,
        monkeypatch,
        vllm=logprob,
        prompts=[nine, use.QUESTION, nine, use.QUESTION],
        gradient_accumulation_steps=accumulation,
        per_device_train_batch_size=BATCH // accumulation,
    )
    trainer.train()
    assert len(calls) == len(trainer.scored) == 6
    for item in trainer.scored:
        (length,) = {len(prompt) for prompt, ids in calls if ids == item.response.ids.tolist()}
        expected = [-0.01 * (length + place + 1) for place in range(len(item.response.ids))]
        np.testing.assert_allclose(item.student_logprobs, expected, rtol=1e-6)


# --- what can go wrong in such a conversation


def test_a_tool_result_beyond_the_budget_is_left_out(pair, output, monkeypatch):
    """TRL takes it back: one turn remains, and it did not end the conversation by itself."""
    budget = len(use.student_tokenizer(pair)(use.call(1) + use.END)["input_ids"]) + 2
    trainer = use.trainer_with_tools(pair, output, monkeypatch, max_completion_length=budget)
    trainer.train()
    assert [item.response.data.decode() for item in trainer.scored] == [use.call(1)] * BATCH
    assert "turns" not in trainer.steps[0]


@pytest.mark.parametrize("room", [0, pytest.param(3, marks=pytest.mark.slow)])
def test_an_answer_that_is_cut_to_the_budget(pair, output, monkeypatch, room):
    """Down to nothing: the conversation then ends with the tool's result, and did not stop."""
    tokenizer = use.student_tokenizer(pair)
    budget = len(tokenizer(f"{use.call(1)}{use.END}<|user|>=3{use.END}<|assistant|>")["input_ids"]) + room
    trainer = use.trainer_with_tools(pair, output, monkeypatch, max_completion_length=budget)
    trainer.train()
    lengths = [len(item.response.ids) for item in trainer.scored]
    whole = len(tokenizer(use.call(1) + use.END)["input_ids"])
    assert lengths == ([whole] if room == 0 else [whole, room]) * BATCH
    assert trainer.steps[0]["stopped"] == 0
    assert trainer.steps[0]["tool_tokens"] > 0


def test_a_turn_that_the_teachers_template_refuses_is_counted(pair, output, monkeypatch):
    """No check before the run sees a call that the student makes up."""
    teacher = use.teacher_tokenizer(pair)
    fussy = "{% if c.function.name != 'add' and c.function.name[:2] != 'qz' %}{{ raise_exception('?') }}{% endif %}["
    teacher.chat_template = use.TEACHER_TEMPLATE.replace("[{{ c", fussy + "{{ c")

    def invents(before):
        return f"sorry{use.END}" if "not found" in before else f"{use.call(1, name='sub')}{use.END}"

    options = {"trainer_options": {"teacher_processing_class": teacher}, "max_completion_length": 110}
    trainer = use.trainer_with_tools(pair, output, monkeypatch, invents, **options)
    trainer.train()
    turns = trainer.scored
    assert [item.dropped for item in turns] == [None, DropReason.TEACHER_TEMPLATE] * BATCH
    assert [item.num_teacher_tokens > 0 for item in turns] == [True, False] * BATCH
    total = Coverage()
    for item in turns:
        total.add(item.coverage)
    dropped = total.dropped[DropReason.TEACHER_TEMPLATE]
    assert (dropped.tokens, dropped.bytes) == (sum(len(item.response.ids) for item in turns[1::2]), 5 * BATCH)
    assert 0 < trainer.steps[0]["coverage"] < 1


def test_a_student_cannot_end_the_teachers_turn(pair, output, monkeypatch):
    """Its call names `<stop>`, which is text for the student and a control token for the teacher."""

    def injects(before):
        return f"done{use.END}" if "=<stop>!" in before else f"{use.call('<stop>', '!')}{use.END}"

    trainer = use.trainer_with_tools(pair, output, monkeypatch, injects)
    requests = watched(trainer)
    trainer.train()
    stop = trainer.teacher.tokenizer.convert_tokens_to_ids("<stop>")
    shown = text(trainer, requests[1]).removeprefix(ASKED)
    assert shown == use.in_teachers_form("<stop>", "!") + "<stop>\n<turn>tool\n<stop>!<stop>\n<turn>assistant\n"
    assert list(requests[1].prompt_ids).count(stop) == 4  # tools, question, call, result
    assert stop not in requests[0].response_ids


def test_reasoning_that_the_teachers_template_drops_from_earlier_turns_is_reported(pair, output, monkeypatch, caplog):
    student = use.student_tokenizer(pair)
    fields = {"reasoning_content": {"open": "(", "close_pattern": r"\)\s*", "content": "text"}}
    student.response_template = {**use.RESPONSE_TEMPLATE, "fields": {**fields, **use.RESPONSE_TEMPLATE["fields"]}}

    def thinks(before):
        return f"3{use.END}" if "=3" in before else f"(hm){use.call(1)}{use.END}"

    trainer = use.trainer_with_tools(pair, output, monkeypatch, thinks, trainer_options={"processing_class": student})
    trainer.train()
    assert trainer.steps[0]["history_changed/teacher"] == 1
    told = [record.message for record in caplog.records if record.name == "crossdistill"]
    assert len(told) == 1
    assert "the teacher's chat template does not show earlier answers of the assistant as they were" in told[0]
    assert told[0].endswith("Its habits: leaves out reasoning_content.")


def test_the_students_prompt_is_rendered_by_the_template_that_trl_takes_for_tools(pair, output, monkeypatch):
    """Qwen3's own drops the empty block of reasoning from a turn once a question follows."""
    student, model = use.student_tokenizer(pair), load(pair.student)
    student.chat_template, student.response_template = qwen3_chat_template, None
    model.config.max_position_embeddings = 4096
    options = {"student": model, "max_completion_length": 8, "trainer_options": {"processing_class": student}}
    talk = [*use.QUESTION, {"role": "assistant", "content": "3"}, *use.QUESTION]
    trainer = use.trainer_with_tools(pair, output, monkeypatch, **options, prompts=[talk] * 4)
    assert trainer.chat_template not in (None, qwen3_chat_template)
    (ids,), _, _ = trainer._tokenize_prompts([talk])
    expected = student.apply_chat_template(
        talk, tools=[use.add], chat_template=trainer.chat_template, add_generation_prompt=True, return_dict=False
    )
    assert ids == expected
    assert ids != student.apply_chat_template(talk, tools=[use.add], add_generation_prompt=True, return_dict=False)
    assert trainer.student_side.changes(talk) is False
