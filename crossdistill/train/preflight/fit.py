"""Whether a model's weights fit its architecture, by the names and shapes of their tensors.

transformers fills what is missing with random numbers and throws away what it does not expect, with a table in the log
at most.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from crossdistill.findings import Kind, Severity, When
from crossdistill.train.preflight.headers import Header
from crossdistill.train.preflight.weight_files import some

MISFIT = Kind(
    "weights_that_do_not_fit",
    Severity.REFUSAL,
    When.LOADING,
    "the weights of {what} do not fit {architecture} ({faults}): {way_out}.",
    "transformers fills what is missing with random numbers, throws away what it does not expect, and the run goes on",
)

CODED = Kind(
    "weights_without_their_scales",
    Severity.REFUSAL,
    When.LOADING,
    "the weights of {what} are quantised ({tensors}), and its config.json has no quantization_config that says how: "
    "fetch the model again with the config.json of its weights, or give weights of float32, float16 or bfloat16.",
    "transformers takes the codes for the numbers that they stand for",
)

SCALES = Kind(
    "fp8_without_scales",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the weights of {what} are of FP8, and their scales are missing ({missing}): fetch the model again, with all of "
    "its files.",
    "transformers fills the scales with other numbers, and every quantised layer is wrong",
)

_WRAPPERS = {
    "_orig_mod": "torch.compile",
    "_fsdp_wrapped_module": "FSDP",
    "_checkpoint_wrapped_module": "a wrapper of activation checkpointing",
    "module": "DistributedDataParallel",
}
_FP8 = {"F8_E4M3", "F8_E5M2", "float8_e4m3fn", "float8_e5m2"}
_OF_AN_ADAPTER = re.compile(r"(^|\.)(base_model\.model\.|base_layer\.|lora_[A-Za-z]+)")
_LAYER = re.compile(r"(?:^|\.)(?:layers|layer|h|blocks|block)\.(\d+)\.")
# what layers that predict further tokens have and others have not
_OF_FURTHER_TOKENS = re.compile(
    r"\.(eh_proj|enorm|hnorm|shared_head|embed_tokens|input_proj|(token|hidden|final)_(layer)?norm|mtp\w*|nextn\w*)\."
)
# tables that the model computes itself, and heads that predict further tokens
_HARMLESS = re.compile(
    r"(^|\.)(attn|attention|self_attention)\.(masked_bias|bias|causal_mask)$"
    r"|(^|\.)(inv_freq|position_ids|rope\.freqs|num_batches_tracked)$"
    r"|(^|\.)mtp(_|\.|\d|$)"
)
# scales of a cache that is not quantised here, and the zeros that GPTQ writes for layers without a bias
_OF_A_QUANTISER = re.compile(r"(^|\.)(((k|v|q|kv|output|prob)_(scale|zero_point))|(\w+_proj\.bias))$")


@dataclass(frozen=True)
class Keys:
    """Names of tensors that do not fit, as transformers reports them.

    Attributes:
        missing: the model has them and the file has not.
        unexpected: the file has them and the model has not.
        mismatched: name -> shape in the file, shape in the model.
    """

    missing: frozenset[str]
    unexpected: frozenset[str]
    mismatched: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]

    @classmethod
    def of(cls, info: Mapping[str, Any], config: Any) -> "Keys":
        """Those of a ``loading_info`` that change the model.

        Args:
            info: what ``from_pretrained`` returns beside the model.
            config: of the model.
        """
        further = _further_layers(info["unexpected_keys"], config.get_text_config())
        harmless = {key for key in info["unexpected_keys"] if further.intersection(_layers([key]))}
        unexpected = frozenset(key for key in set(info["unexpected_keys"]) - harmless if not _is_harmless(key, config))
        missing = frozenset(key for key in info["missing_keys"] if not _HARMLESS.search(key))
        mismatched = {key: (tuple(file), tuple(model)) for key, file, model in sorted(info["mismatched_keys"])}
        return cls(missing, unexpected, mismatched)

    @property
    def fit(self) -> bool:
        """Whether there are none."""
        return not (self.missing or self.unexpected or self.mismatched)

    @property
    def faults(self) -> str:
        """How many there are of each, and some names."""
        parts = []
        for name, keys in (("missing", self.missing), ("unexpected", self.unexpected)):
            if keys:
                parts.append(f"{len(keys)} {name}: {some(sorted(keys))}")
        if self.mismatched:
            shapes = [f"{key} is {list(file)}, not {list(model)}" for key, (file, model) in self.mismatched.items()]
            parts.append(f"{len(shapes)} of another shape: {some(shapes)}")
        return "; ".join(parts)


def check_fit(what: str, architecture: str, config: Any, info: Mapping[str, Any]) -> None:
    """Check that a file's tensors are those of a model.

    Args:
        what: whose weights they are, such as "the student 'my-model'".
        architecture: name of the model's class.
        config: of the model.
        info: what ``from_pretrained`` returns beside the model.

    Raises:
        FindingError: tensors are missing, unexpected or of another shape.

    Example:
        >>> from transformers import LlamaConfig
        >>> info = {"missing_keys": {"lm_head.weight"}, "unexpected_keys": {"module.lm_head.weight"},
        ...         "mismatched_keys": set()}
        >>> try:
        ...     check_fit("the student 'x'", "LlamaForCausalLM", LlamaConfig(), info)
        ... except ValueError as error:
        ...     print(str(error)[-74:])
        they were saved from DistributedDataParallel; save them without 'module.'.
    """
    keys = Keys.of(info, config)
    if not keys.fit:
        way_out = next(_likely_causes(keys, config))
        raise MISFIT.error(what=what, architecture=architecture, faults=keys.faults, way_out=way_out)


def check_dtypes(what: str, model: Any, headers: Mapping[str, Header]) -> None:
    """Check that the tensors in files are the numbers that a model computes with, and not codes for them.

    Args:
        what: whose weights they are, such as "the student 'my-model'".
        model: without weights, not quantised.
        headers: of the tensors in the files.

    Raises:
        FindingError: some are integers or 8-bit floats where the model has other floats.
    """
    tables = {
        name.rpartition(".")[2]
        for name, value in (*model.named_parameters(), *model.named_buffers())
        if not value.is_floating_point()
    }
    not_read = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    coded = [
        f"{name} is {header.dtype}"
        for name, header in headers.items()
        if not header.is_computed_with and name.rpartition(".")[2] not in tables
        and not _HARMLESS.search(name) and not any(re.search(pattern, name) for pattern in not_read)
    ]  # fmt: skip
    if coded:
        raise CODED.error(what=what, tensors=some(coded))


def check_scales(what: str, headers: Mapping[str, Header], method: str | None) -> None:
    """Check that the weights of FP8 have their scales.

    Args:
        what: whose weights they are, such as "the student 'my-model'".
        headers: of the tensors in the files, by name.
        method: of the quantisation, as its configuration calls it; methods other than ``fp8`` pass.

    Raises:
        FindingError: some have none.
    """
    scaled = {name[: name.rindex("scale")].rstrip("._") for name in headers if "scale" in name}
    missing = [
        f"{name}_scale_inv"
        for name, header in headers.items()
        if header.dtype in _FP8 and not scaled & {name, name.removesuffix(".weight")}
    ]
    if method == "fp8" and missing:
        raise SCALES.error(what=what, missing=some(missing))


def _is_harmless(key: str, config: Any) -> bool:
    """Whether an unexpected tensor takes no part in what the model computes."""
    text = config.get_text_config()
    quantised = getattr(config, "quantization_config", None) or getattr(text, "quantization_config", None)
    return bool(_HARMLESS.search(key) or (quantised and _OF_A_QUANTISER.search(key)))


def _further_layers(unexpected: Iterable[str], config: Any) -> set[int]:
    """The numbers of layers that predict further tokens: beyond the model's own, and made like such a layer."""
    number = getattr(config, "num_hidden_layers", 0)
    further = range(number, number + (getattr(config, "num_nextn_predict_layers", None) or 0))
    return set(further).intersection(_layers(key for key in unexpected if _OF_FURTHER_TOKENS.search(key)))


# ---- likely causes --------------------------------------------------------------------------------------------------


def _likely_causes(keys: Keys, config: Any) -> Iterator[str]:
    """Ways out, with the cause as far as the names tell it; the last one always holds."""
    yield from _wrapped(keys)
    yield from _of_layers(keys, config.get_text_config())
    yield from _of_shapes(keys, config.get_text_config())
    yield from _of_the_head(keys)
    if keys.missing and keys.unexpected:
        yield "they are of another architecture, or damaged; fetch the model again with the config.json of its weights"
    yield "fetch or save the model again, with the config.json of its weights"


def _wrapped(keys: Keys) -> Iterator[str]:
    if any(_OF_AN_ADAPTER.search(key) for key in keys.unexpected):
        yield "they are an adapter's; merge it into its base (merge_and_unload) and save the result"
    parts = [set(key.split(".")) for key in keys.unexpected]
    for wrapper, by in _WRAPPERS.items():
        if parts and all(wrapper in found for found in parts):
            yield f"they were saved from {by}; save them without '{wrapper}.'"
    prefixes = {key.split(".")[0] + "." for key in keys.unexpected}
    if len(prefixes) == 1:
        (prefix,) = prefixes
        if keys.missing & {key.removeprefix(prefix) for key in keys.unexpected}:
            yield f"their names begin with {prefix!r}; save them without it"


def _of_layers(keys: Keys, config: Any) -> Iterator[str]:
    number = getattr(config, "num_hidden_layers", None)
    if number is None or keys.mismatched:
        return
    beyond, lacking = _layers(keys.unexpected), _layers(keys.missing)
    if beyond and not keys.missing and min(beyond) >= number and len(beyond) == len(keys.unexpected):
        yield f"config.json says num_hidden_layers = {number} and they have layer {max(beyond)}; correct one of the two"
    if lacking and not keys.unexpected and len(lacking) == len(keys.missing):
        yield f"config.json says num_hidden_layers = {number} and layer {min(lacking)} is not whole; fetch all of them"


def _of_shapes(keys: Keys, config: Any) -> Iterator[str]:
    """The entry of the configuration that all other shapes have in place of the file's."""
    for name in ("vocab_size", "hidden_size", "intermediate_size"):
        value = getattr(config, name, None)
        differing = [_differences(*shapes) for shapes in keys.mismatched.values()]
        if differing and all(found and {model for _, model in found} == {value} for found in differing):
            in_file = differing[0][0][0]
            yield f"config.json says {name} = {value} and the weights say {in_file}; correct config.json"


def _of_the_head(keys: Keys) -> Iterator[str]:
    if keys.missing and all(key.endswith("lm_head.weight") for key in keys.missing) and not keys.mismatched:
        yield (
            "they have no output layer, as those of a classifier or an embedding model; give a model that writes text, "
            "or set tie_word_embeddings in config.json if it is the input layer"
        )


def _layers(keys: Iterable[str]) -> list[int]:
    """The numbers of the layers of tensors; tensors outside of layers have none."""
    return [int(match.group(1)) for key in keys if (match := _LAYER.search(key))]


def _differences(file: tuple[int, ...], model: tuple[int, ...]) -> list[tuple[int, int]]:
    """The sizes in which two shapes differ; none if they have other numbers of dimensions."""
    return [(a, b) for a, b in zip(file, model, strict=True) if a != b] if len(file) == len(model) else []
