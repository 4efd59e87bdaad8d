"""The dialect of vLLM: its requests, and answers written by hand."""

import math

import numpy as np
import pytest

from crossdistill.teachers.served.api.vllm import Vllm
from crossdistill.teachers.served.http.errors import Malformed, Unsound

DIALECT = Vllm(vocab_size=50)
IDS = (3, 4, 5)


def entry(logprob, rank=1):
    return {"logprob": logprob, "rank": rank, "decoded_token": f"<{logprob}>"}


def answer(*rows):
    return {"choices": [{"prompt_logprobs": [None, *rows]}]}


def test_the_request():
    assert DIALECT.body(IDS, 2) == {"prompt": [3, 4, 5], "max_tokens": 1, "temperature": 0, "prompt_logprobs": 2}
    assert DIALECT.num_generated == 1
    assert DIALECT.next_body(IDS, (8, 9)) == {
        "prompt": [3, 4, 5],
        "max_tokens": 1,
        "temperature": 1,
        "top_p": 1,
        "logprobs": 2,
        "logprob_token_ids": [8, 9],
        "return_tokens_as_token_ids": True,
    }
    assert DIALECT.next_body(IDS, range(129)) is None  # more than vLLM takes


def test_scores_of_the_tokens_that_were_sent():
    read = DIALECT.read(answer({"4": entry(-1.5)}, {"5": entry(-0.25)}), IDS, 0)
    assert read.logprobs.tolist() == [-1.5, -0.25]
    assert read.logprobs.dtype == np.float32
    assert read.top_ids is None
    assert read.top_logprobs is None


def test_the_most_probable_in_order_whether_or_not_the_realised_token_is_one_of_them():
    outside = {"4": entry(-3.0, 9), "10": entry(-1.0, 1), "11": entry(-2.0, 2)}
    inside = {"5": entry(-1.75, 2), "12": entry(-0.5, 1)}
    read = DIALECT.read(answer(outside, inside), IDS, 2)
    assert read.logprobs.tolist() == [-3.0, -1.75]
    assert read.top_ids.tolist() == [[10, 11], [12, 5]]
    assert read.top_logprobs.tolist() == [[-1.0, -2.0], [-0.5, -1.75]]
    assert (read.top_ids.dtype, read.top_logprobs.dtype) == (np.int64, np.float32)


def test_the_floor_means_a_probability_of_0_and_rounding_is_undone():
    row = {"4": entry(5e-4), "10": entry(-9999.0, 2)}
    read = DIALECT.read(answer(row, {"5": entry(-0.5), "11": entry(-1.5)}), IDS, 2)
    assert read.logprobs.tolist() == [0.0, -0.5]
    assert read.top_logprobs.tolist() == [[0.0, -math.inf], [-0.5, -1.5]]


@pytest.mark.parametrize("top_k", [0, 2])
def test_rows_of_the_prompt_are_not_parsed_if_they_are_not_wanted(top_k):
    first = {"4": entry(-3.0, 9), "10": entry(-1.0, 1), "11": entry(-2.0, 2)}
    last = {"5": entry(-1.75, 2), "12": entry(-0.5, 1)}
    whole = DIALECT.read(answer(first, last), IDS, top_k).rows_from(1)
    unread = {"4": entry(-3.0), "what": "ever"}
    read = DIALECT.read_from(answer(unread, last), IDS, top_k, 1)
    assert DIALECT.body_from(IDS, top_k, 1) == DIALECT.body(IDS, top_k)
    for ours, theirs in zip(read, whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for row, error, message in (
        ({"4": entry(3.0)}, Unsound, "at position 1 is 3"),
        ({"4": "?"}, Malformed, "has no logprob"),
        ({"3": entry(-3.0)}, Malformed, "does not score token 4, which was sent at position 1"),
        (None, Malformed, "position 1"),
    ):
        with pytest.raises(error, match=message):
            DIALECT.read_from(answer(row, last), IDS, top_k, 1)
    with pytest.raises(Unsound, match="at position 2 is 3"):
        DIALECT.read_from(answer(unread, {"5": entry(3.0)}), IDS, 0, 1)
    with pytest.raises(Malformed, match="instead of 3"):
        DIALECT.read_from(answer(last), IDS, top_k, 1)


GOOD = {"5": entry(-0.5)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "no choices"),
        ([], "no choices"),
        ({"choices": []}, "no choices.0"),
        ({"choices": [{"text": "x"}]}, "no choices.0.prompt_logprobs"),
        ({"choices": [{"prompt_logprobs": None}]}, "no list of prompt_logprobs"),
        (answer(GOOD), "scores 2 tokens"),
        ({"choices": [{"prompt_logprobs": [{"3": entry(-1)}, {"4": entry(-1)}, GOOD]}]}, "scores the first token"),
        (answer({"4": entry(-1)}, None), "no log-probability at position 2"),
        (answer({"5": entry(-1)}, {"4": entry(-1)}), "does not score token 4, which was sent at position 1"),
        (answer({"4": {"rank": 1}}, GOOD), "no logprob"),
        (answer({"4": entry("-1")}, GOOD), "at position 1 is not a number"),
        (answer({"4": entry(True)}, GOOD), "at position 1 is not a number"),
        (answer({"four": entry(-1)}, GOOD), "'four' at position 1, which is not a number"),
        (answer({"4": entry(-1), "50": entry(-2)}, GOOD), "names token 50 at position 1"),
        (answer({"4": entry(-1), str(10**30): entry(-2)}, GOOD), "not a number"),
    ],
)
def test_an_answer_of_another_shape_is_malformed(given, message):
    with pytest.raises(Malformed, match=message) as raised:
        DIALECT.read(given, IDS, 0)
    assert not isinstance(raised.value, Unsound)


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.5, 10**400, -9999.0, -(10**400)])
def test_a_log_probability_that_cannot_be_is_unsound(value):
    with pytest.raises(Unsound, match="position 2"):
        DIALECT.read(answer({"4": entry(-1)}, {"5": entry(value)}), IDS, 0)


@pytest.mark.parametrize(
    "row",
    [
        {"4": entry(-1.0), "10": entry(math.nan)},
        {"4": entry(-1.0), "10": entry(0.5)},
        {"4": entry(-0.1), "10": entry(-0.2)},  # 0.9 + 0.8
    ],
)
def test_a_top_k_that_is_not_part_of_a_distribution_is_unsound(row):
    with pytest.raises(Unsound, match="not part of a distribution"):
        DIALECT.read(answer(row, {"5": entry(-0.5), "11": entry(-1.5)}), IDS, 2)


def test_too_few_of_the_most_probable():
    with pytest.raises(Malformed, match="names 1 tokens at position 2 instead of 2"):
        DIALECT.read(answer({"4": entry(-1.0), "10": entry(-2.0)}, GOOD), IDS, 2)


def next_answer(**values):
    return {"choices": [{"logprobs": {"top_logprobs": [{f"token_id:{k[1:]}": v for k, v in values.items()}]}}]}


def test_next_tokens_are_read_by_id():
    given = next_answer(t7=-0.5, t9=-3.0, t8=-9999.0)  # 7 was sampled
    assert DIALECT.read_next(given, (8, 9)).tolist() == [-math.inf, -3.0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (next_answer(t7=-0.5), "no token_id:8"),
        (next_answer(t8=math.nan), "NaN or positive"),
        (next_answer(t8=1.0), "NaN or positive"),
        ({"choices": [{"logprobs": None}]}, "no choices.0.logprobs.top_logprobs"),
    ],
)
def test_next_tokens_are_checked(given, message):
    with pytest.raises(Malformed, match=message):
        DIALECT.read_next(given, (8,))


def test_names_of_the_tokens_that_were_sent():
    rows = answer({"4": entry(-1.5), "9": entry(-1.0)}, {"5": {"logprob": -1.0}})
    assert DIALECT.tokens(rows) == [None, "<-1.5>", None]
