"""MATH-500: 500 problems of the MATH test set (Hendrycks et al. 2021), chosen by Lightman et al. (2023)."""

from crossdistill.eval.sampling import Sampling
from crossdistill.eval.tasks.math_rows import MathTask
from crossdistill.eval.tasks.rows import HubData


class MATH500(MathTask):
    """Competition mathematics with answers in LaTeX.

    Example:
        >>> MATH500().source
        'HuggingFaceH4/MATH-500'
    """

    sampling = Sampling(k=4, temperature=0.6, top_p=0.95, max_tokens=32_768)

    def __init__(self, name: str = "math500") -> None:
        super().__init__(name, HubData("HuggingFaceH4/MATH-500"))
