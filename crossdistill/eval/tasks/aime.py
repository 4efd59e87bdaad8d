"""AIME: 30 problems of the American Invitational Mathematics Examination a year, with whole numbers as answers."""

from crossdistill.eval.sampling import Sampling
from crossdistill.eval.tasks.math_rows import MathTask
from crossdistill.eval.tasks.rows import HubData

_HUB = {
    "aime24": HubData("HuggingFaceH4/aime_2024", split="train"),
    "aime25": HubData("math-ai/aime25"),
    "aime26": HubData("math-ai/aime26"),
}


class AIME(MathTask):
    """One year. With 30 problems, one sample of each says little: 16 are usual.

    Example:
        >>> AIME("aime25").source
        'math-ai/aime25'
    """

    sampling = Sampling(k=16, temperature=0.6, top_p=0.95, max_tokens=32_768)

    def __init__(self, name: str) -> None:
        super().__init__(name, _HUB[name])
