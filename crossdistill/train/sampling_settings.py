"""The settings under which a run samples: known to the engine, possible, and honoured.

They are the configuration's fields (`temperature`, `top_p`, ...) and the entries of `generation_kwargs`, which override
them. Nothing else shapes a rollout; see :mod:`crossdistill.teachers.generation_defaults`.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import transformers
from transformers import GenerationConfig, LlamaConfig, QuantizedCache

from crossdistill.findings import Finding, FindingError, Kind, Severity, When

UNKNOWN = Kind(
    "unknown_generation_setting",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "generation_kwargs has the key {name!r}, which {engine} does not know, so it would have no effect: {way_out}.",
    "the run samples under other settings than it names",
)
NOT_HONOURED = Kind(
    "generation_setting_not_honoured",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{name} = {value} cannot be honoured, because {reason}: {way_out}.",
    "responses are attributed to other prompts, cut or ended in a way that the objective does not know of, or sampled "
    "otherwise than the run says",
)
IMPOSSIBLE = Kind(
    "impossible_generation_setting",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{name} = {value} is not possible ({reason}): change it.",
    "the first rollout fails, or is sampled under another value",
)
SHAPED = Kind(
    "shaped_samples",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "the samples are shaped by {settings}, so they are not drawn from the policy that is trained: leave that out "
    "unless you want it.",
    "the student is trained on texts that it would not write with these probabilities",
)

_BEAMS = "it belongs to beam search, and a rollout is one sample of the policy"
_SPECULATION = "it belongs to assisted generation, and a run samples from the student alone"
_OUTPUTS = "the run reads the sampled ids alone"
_ARGUMENT = "it is an argument of generate() and not one of its settings"
_LEAVE_OUT = "leave it out"
_NOT_HONOURED: tuple[tuple[str, str, str], ...] = (  # names, reason, way out
    ("max_new_tokens max_length max_tokens", "the run has its own budget", "set max_completion_length"),
    ("min_length", "it counts the prompt's tokens too", "set min_new_tokens"),
    ("max_time", "responses would be cut by the clock", "set max_completion_length"),
    (
        "stop_strings stop include_stop_str_in_output",
        "a response that it cuts has no stop token, so its end could not be taught",
        "give the student that end as a token (eos_token_id in its generation_config.json)",
    ),
    (
        "eos_token_id stop_token_ids ignore_eos",
        "responses end in the stop tokens of the student's tokenizer, template and generation_config.json",
        "name the stop tokens there",
    ),
    ("pad_token_id bos_token_id", "these tokens are the tokenizer's", "change the tokenizer"),
    ("forced_eos_token_id", "a response that was cut would look like one that ended", _LEAVE_OUT),
    ("forced_bos_token_id", "responses follow a prompt, so it has no effect", _LEAVE_OUT),
    ("do_sample", "a greedy response is not a sample of the policy", "leave it out, or lower temperature"),
    ("num_return_sequences n best_of", "each row has one response", "set num_generations"),
    ("num_beams num_beam_groups diversity_penalty length_penalty early_stopping", _BEAMS, _LEAVE_OUT),
    ("constraints force_words_ids", _BEAMS, _LEAVE_OUT),
    ("penalty_alpha dola_layers low_memory", "it belongs to a search, and a rollout is a sample", _LEAVE_OUT),
    ("use_mtp is_assistant num_assistant_tokens num_assistant_tokens_schedule", _SPECULATION, _LEAVE_OUT),
    ("assistant_confidence_threshold prompt_lookup_num_tokens max_matching_ngram_size", _SPECULATION, _LEAVE_OUT),
    ("assistant_early_exit assistant_lookbehind target_lookbehind", _SPECULATION, _LEAVE_OUT),
    ("assistant_ensemble_weight speculation_type", _SPECULATION, _LEAVE_OUT),
    (
        "return_dict_in_generate output_attentions output_hidden_states output_scores output_logits",
        _OUTPUTS,
        _LEAVE_OUT,
    ),
    ("logprobs prompt_logprobs logprob_token_ids flat_logprobs output_kind", "the run sets it itself", _LEAVE_OUT),
    ("token_healing truncate_prompt_tokens", "it changes the prompt that the teacher reads as well", _LEAVE_OUT),
    ("remove_invalid_values", "it would hide that the student's numbers are not finite", _LEAVE_OUT),
    ("decoder_start_token_id", "it belongs to models with an encoder", _LEAVE_OUT),
    ("compile_config disable_compile continuous_batching_config", "the run turns compilation off", _LEAVE_OUT),
    (
        "logits_processor logits_processors stopping_criteria prefix_allowed_tokens_fn custom_generate",
        _ARGUMENT,
        _LEAVE_OUT,
    ),
    (
        "assistant_model assistant_tokenizer streamer synced_gpus tokenizer inputs generation_config",
        _ARGUMENT,
        _LEAVE_OUT,
    ),
    ("negative_prompt_ids negative_prompt_attention_mask trust_remote_code", _ARGUMENT, _LEAVE_OUT),
)
_REFUSED = {name: (reason, way_out) for names, reason, way_out in _NOT_HONOURED for name in names.split()}

_SET_BY_THE_RUN = {"max_new_tokens", "max_tokens", "do_sample", "eos_token_id", "pad_token_id", "logprobs", "n"}
"""Here None is not "not set": it would take the place of the run's own value."""

_FIELDS = ("top_p", "top_k", "min_p", "repetition_penalty")
"""Fields of the configuration that shape samples. Its temperature does not: both models are compared at it."""

_ONES = "num_return_sequences n best_of num_beams num_beam_groups length_penalty top_p typical_p repetition_penalty"
_ZEROS = "min_p top_k epsilon_cutoff eta_cutoff min_new_tokens min_tokens min_length no_repeat_ngram_size"
_WITHOUT_EFFECT: dict[str, Any] = {
    **dict.fromkeys([*_ONES.split(), "encoder_repetition_penalty", "guidance_scale"], 1),
    **dict.fromkeys([*_ZEROS.split(), "encoder_no_repeat_ngram_size", "diversity_penalty"], 0),
    **dict.fromkeys(["presence_penalty", "frequency_penalty"], 0),
    "do_sample": True,
}
"""Values with which a setting changes nothing."""

_WITH_IDS = {
    *("bad_words_ids", "sequence_bias", "suppress_tokens", "begin_suppress_tokens"),
    *("logit_bias", "allowed_token_ids"),
}

_NOT_SHAPING = {
    *("temperature", "use_cache", "cache_config", "max_cache_len", "prefill_chunk_size"),
    *("renormalize_logits", "seed", "detokenize", "skip_clone", "skip_reading_prefix_cache"),
}
_PROCESSORS = {  # transformers' own classes know which values are possible
    "top_k": "TopKLogitsWarper",
    "top_p": "TopPLogitsWarper",
    "top_h": "TopHLogitsWarper",
    "min_p": "MinPLogitsWarper",
    "typical_p": "TypicalLogitsWarper",
    "epsilon_cutoff": "EpsilonLogitsWarper",
    "eta_cutoff": "EtaLogitsWarper",
    "repetition_penalty": "RepetitionPenaltyLogitsProcessor",
    "no_repeat_ngram_size": "NoRepeatNGramLogitsProcessor",
    "bad_words_ids": "NoBadWordsLogitsProcessor",
    "sequence_bias": "SequenceBiasLogitsProcessor",
    "suppress_tokens": "SuppressTokensLogitsProcessor",
}


def check_sampling(args: Any) -> None:
    """Check the settings of a configuration.

    Args:
        args: the trainer's configuration.

    Raises:
        FindingError: a setting that the engine does not know, that is impossible, or that cannot be honoured.
    """
    given = args.generation_kwargs or {}
    if given.get("temperature", args.temperature) != args.temperature:
        reason = f"both models are compared at the configuration's temperature, which is {args.temperature:g}"
        raise _not_honoured("temperature", given["temperature"], reason, "set that one")
    for name, value in given.items():
        if name in _REFUSED and (_has_effect(name, value) or (value is None and name in _SET_BY_THE_RUN)):
            raise _not_honoured(name, value, *_REFUSED[name])
    _check_known(given, args.use_vllm)
    if not args.use_vllm:
        _check_values(_settings(args), args.device.type == "cpu")


def check_ids(args: Any, num_ids: int) -> None:
    """Check that settings name tokens that the student has.

    Args:
        args: the trainer's configuration, checked.
        num_ids: token ids that the student has embeddings for.

    Raises:
        FindingError: one is beyond them.
    """
    for name, value in (args.generation_kwargs or {}).items():
        highest = max(_ids_in(value), default=0) if name in _WITH_IDS else 0
        if highest >= num_ids:
            reason = f"the student has {num_ids} embeddings, and the token id {highest} is beyond them"
            raise IMPOSSIBLE.error(name=name, value=_shown(value), reason=reason)


def shaping_settings(args: Any) -> Iterator[Finding]:
    """A warning, if settings of a configuration change the distribution that is sampled from.

    Args:
        args: the trainer's configuration, checked.

    Example:
        >>> from crossdistill.train import CrossTokenizerConfig
        >>> args = CrossTokenizerConfig("out", min_p=0.05, use_cpu=True, bf16=False, report_to="none")
        >>> [finding] = shaping_settings(args)
        >>> finding.message[:77]
        'the samples are shaped by min_p = 0.05, so they are not drawn from the policy'
    """
    shaping = [f"{name} = {_shown(value)}" for name, value in _settings(args).items() if _shapes(name, value)]
    if args.use_vllm and args.vllm_structured_outputs_regex:
        shaping.append("vllm_structured_outputs_regex")
    if shaping:
        yield SHAPED(settings=", ".join(shaping))


def _settings(args: Any) -> dict[str, Any]:
    """All settings beside the temperature and the budget, as the engine will see them."""
    settings = {name: getattr(args, name) for name in _FIELDS}
    if args.use_vllm and settings["top_k"] == -1:
        settings["top_k"] = 0  # vLLM's other name of no limit
    if not args.use_vllm:
        settings["cache_implementation"] = args.cache_implementation
    return settings | (args.generation_kwargs or {})


def _ids_in(value: Any) -> Iterator[int]:
    """The token ids in a list of them, in a list of lists, or in the keys of a dict."""
    if isinstance(value, int) and not isinstance(value, bool):
        yield value
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for one in value:
            yield from _ids_in(one)


def _has_effect(name: str, value: Any) -> bool:
    if value is None or value in ([], {}, ()):
        return False
    if name in _WITHOUT_EFFECT:
        return bool(value != _WITHOUT_EFFECT[name])
    return value is not False


def _shapes(name: str, value: Any) -> bool:
    if name == "cache_implementation":
        return bool(value == "quantized")
    return name not in _NOT_SHAPING and name not in _REFUSED and _has_effect(name, value)


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 60 else f"{shown[:57]}..."


def _not_honoured(name: str, value: Any, reason: str, way_out: str) -> FindingError:
    return NOT_HONOURED.error(name=name, value=_shown(value), reason=reason, way_out=way_out)


def _check_known(given: Mapping[str, Any], use_vllm: bool) -> None:
    known = _vllm_names() if use_vllm else _transformers_names()
    for name in given:
        if known and name not in known:
            near = get_close_matches(name, known, n=1)
            fields = "vllm.SamplingParams" if use_vllm else "transformers.GenerationConfig"
            way_out = f"perhaps you mean {near[0]!r}" if near else f"take a field of {fields}"
            raise UNKNOWN.error(name=name, engine="vLLM" if use_vllm else "generate()", way_out=way_out)


def _transformers_names() -> set[str]:
    return {name for name in vars(GenerationConfig()) if not name.startswith("_")} - {"transformers_version"}


def _vllm_names() -> set[str]:
    """The settings of vLLM; none if it is not installed, which the trainer refuses."""
    try:
        vllm = import_module("vllm")
    except ImportError:
        return set()
    return set(inspect.signature(vllm.SamplingParams).parameters)


def _check_values(settings: Mapping[str, Any], is_on_cpu: bool) -> None:
    """Have transformers check values now, which it would else do in the first rollout."""
    if settings.get("cache_implementation") == "paged":
        reason = "continuous batching does not sample as the other caches do"
        raise _not_honoured("cache_implementation", "paged", reason, _LEAVE_OUT)
    if settings["top_k"] is None:
        raise IMPOSSIBLE.error(name="top_k", value=None, reason="generate() would put 50 in its place")
    _check_cache(settings, is_on_cpu)
    for name, value in settings.items():
        _check_value(name, value)
    with _naming("generation_kwargs", settings):
        GenerationConfig(**{**settings, "do_sample": True})


def _check_cache(settings: Mapping[str, Any], is_on_cpu: bool) -> None:
    """Make the cache now: it needs a library, or an accelerator to be loaded off."""
    kind, options = settings.get("cache_implementation"), dict(settings.get("cache_config") or {})
    if is_on_cpu and str(kind).startswith("offloaded"):
        raise IMPOSSIBLE.error(name="cache_implementation", value=_shown(kind), reason="the run is on a CPU")
    if kind == "quantized":
        options.setdefault("config", LlamaConfig(num_hidden_layers=1))
        with _naming("cache_implementation", kind):
            QuantizedCache(**{"backend": "quanto", **options})


def _check_value(name: str, value: Any) -> None:
    if value is None or (name in _WITHOUT_EFFECT and not _has_effect(name, value)):
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _WITHOUT_EFFECT and not is_number:
        raise IMPOSSIBLE.error(name=name, value=_shown(value), reason="it must be a number")
    processor = getattr(transformers, _PROCESSORS.get(name, ""), None)
    if processor is not None:
        with _naming(name, value):
            processor(value)


@contextmanager
def _naming(name: str, value: Any) -> Iterator[None]:
    """Name the setting that transformers finds impossible."""
    try:
        yield
    except (ImportError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise IMPOSSIBLE.error(name=name, value=_shown(value), reason=reason) from None
