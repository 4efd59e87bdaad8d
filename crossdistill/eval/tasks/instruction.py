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
        instruction: to add on a new line. Nothing is added if it is empty, if the prompt has it already, or if
            both ask for a box.

    Example:
        >>> instructed("What is 2 + 2?", "Answer in words.")
        'What is 2 + 2?\\nAnswer in words.'
        >>> instructed("What is 2 + 2? Answer in words.", "Answer in words.")
        'What is 2 + 2? Answer in words.'
    """
    if not isinstance(prompt, str):
        *before, last = prompt
        return [*before, {**last, "content": instructed(text_of(last) or "", instruction)}]
    if not instruction or instruction in prompt or (_ASKED in instruction and _ASKED in prompt):
        return prompt
    return f"{prompt}\n{instruction}"
