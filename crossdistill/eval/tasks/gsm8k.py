"""GSM8K: 1,319 word problems of school mathematics (Cobbe et al. 2021), the test split."""

from crossdistill.eval.row import Row
from crossdistill.eval.sampling import Sampling
from crossdistill.eval.tasks.math_rows import MathTask
from crossdistill.eval.tasks.rows import HubData


class GSM8K(MathTask):
    """Its answers are worked solutions that end with ``#### 18``; the number counts.

    Example:
        >>> GSM8K().source
        'openai/gsm8k'
    """

    sampling = Sampling(max_tokens=2048)

    def __init__(self, name: str = "gsm8k") -> None:
        super().__init__(name, HubData("openai/gsm8k", config="main"))

    def reference(self, row: Row) -> str | list[str]:
        """The number, without the commas between its thousands."""
        answers = super().reference(row)
        return answers.replace(",", "") if isinstance(answers, str) else [one.replace(",", "") for one in answers]
