"""Whether a text that a library would evaluate as Python is an expression that can do nothing but be a value."""

import ast
import warnings

_LITERALS = (ast.Expression, ast.Constant, ast.Name, ast.Load, ast.List, ast.Tuple, ast.Set, ast.Dict)
_SIGNS = (ast.UnaryOp, ast.UAdd, ast.USub)
_ARITHMETIC = (ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.Call)
FUNCTIONS = {
    *("sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh"),
    *("atanh", "exp", "log", "ln", "sqrt", "Abs", "abs", "erf"),
}
"""What an expression may call."""


def is_literal(text: str) -> bool:
    """Whether ``eval`` of a text gives numbers, texts and names in lists, or fails before it does anything.

    Example:
        >>> is_literal("[['a', 1], ['b', 2]]"), is_literal("no Python"), is_literal("[exit()]")
        (True, True, False)
    """
    tree = _parsed(text)
    return tree is None or all(isinstance(node, _LITERALS + _SIGNS) for node in ast.walk(tree))


def is_arithmetic(text: str) -> bool:
    """Whether a text is arithmetic of numbers, names and elementary functions.

    SymPy evaluates what it parses, and texts within it once more, so there may be no text in it.

    Example:
        >>> is_arithmetic("3*x**2 - sin(x)"), is_arithmetic("exit()"), is_arithmetic("sin('exit()')")
        (True, False, False)
    """
    tree = _parsed(text)
    return tree is not None and all(map(_is_arithmetic_node, ast.walk(tree)))


def _is_arithmetic_node(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return type(node.value) in (int, float)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and not node.keywords
    return isinstance(node, (ast.Expression, ast.Name, ast.Load, *_SIGNS, *_ARITHMETIC))


def _parsed(text: str) -> ast.Expression | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
