"""What a task adds to each of its prompts, so that the answer can be found."""

from crossdistill.chat.messages import Prompt, text_of

BOXED = r"Please reason step by step, and put your final answer within \boxed{}."
"""As the model cards of Qwen2.5-Math, Qwen3 and DeepSeek-R1 ask for answers to problems of mathematics."""
LETTER = "Please reason step by step, and end with the line 'Answer: X', in which X is the letter of your choice."
PROGRAM = "Put the complete program into one Python code block."

_ASKED = r"\boxed{}"


def instructed(prompt: Prompt, instruction: str) -> Prompt:
    """A prompt that ends with an instruction.

    Args:
        prompt: a text, or messages whose last one is the user's.
        instruction: to add, as by :func:`instructed_text`.

    Example:
        >>> instructed([{"role": "user", "content": "What is 2 + 2?"}], "Answer in words.")
        [{'role': 'user', 'content': 'What is 2 + 2?\\nAnswer in words.'}]
    """
    if isinstance(prompt, str):
        return instructed_text(prompt, instruction)
    *before, last = prompt
    return [*before, {**last, "content": instructed_text(text_of(last) or "", instruction)}]


def instructed_text(prompt: str, instruction: str) -> str:
    """A text that ends with an instruction.

    Args:
        prompt: the text.
        instruction: to add on a new line. Nothing is added if it is empty, if the text has it already, or if both ask
            for a box.

    Example:
        >>> instructed_text("What is 2 + 2? Answer in words.", "Answer in words.")
        'What is 2 + 2? Answer in words.'
    """
    if not instruction or instruction in prompt or (_ASKED in instruction and _ASKED in prompt):
        return prompt
    return f"{prompt}\n{instruction}"
