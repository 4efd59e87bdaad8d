"""The card of a trained model: ``README.md`` with the hub's metadata, written from what is known of its run."""

import json
import re
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from crossdistill.files import write_text
from crossdistill.report.card.origin import CARD, hub_id_of, licence_of
from crossdistill.report.card.sources import SOURCES
from crossdistill.report.card.tables import Record, named, short, tables

_TEMPLATE = Path(__file__).parents[1] / "templates" / "model_card.md.j2"
_TAGS = {"distillation": "on-policy-distillation", "sft": "sft"}
_URL = re.compile(r"https?://\S+")
ADAPTER = "adapter_config.json"


def write_card(folder: str | Path, record: Record) -> None:
    """Write the card of a model into its folder, in place of any that is there.

    Args:
        folder: of a model or an adapter.
        record: what is known of its run; the card leaves out what it lacks.
    """
    path = Path(folder) / CARD
    write_text(path, str(model_card(record, is_adapter=(path.parent / ADAPTER).exists())))


def model_card(record: Record, is_adapter: bool = False) -> ModelCard:
    """The card of a model.

    Args:
        record: what is known of its run; ``student`` at least.
        is_adapter: whether it is an adapter of the student.
    """
    return ModelCard.from_template(
        _metadata(record, is_adapter),
        template_path=str(_TEMPLATE),
        title=_title(record),
        summary=_summary(record),
        tables=tables(record),
        is_adapter=is_adapter,
        command=_URL.sub("URL", record.get("command") or ""),
        run_file=_run_file(record["config"]) if record.get("config") else "",
        source=SOURCES.get(record.get("objective") or ""),
    )


def _metadata(record: Record, is_adapter: bool) -> ModelCardData:
    """Entries of the hub: only names that the hub knows, so neither folders nor files."""
    base, dataset = hub_id_of(record["student"]), record.get("dataset")
    licence: dict[str, Any] = dict(licence_of(record["student"]).metadata)
    return ModelCardData(
        base_model=base,
        base_model_relation=None if base is None else "adapter" if is_adapter else "finetune",
        datasets=[dataset] if dataset and not _is_file(dataset) else None,
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["crossdistill", "trl", _TAGS[_kind(record)], *(["lora"] if is_adapter else [])],
        **licence,
    )


def _is_file(dataset: str) -> bool:
    return Path(dataset).exists() or Path(dataset).is_absolute() or Path(dataset).suffix != ""


def _kind(record: Record) -> str:
    return "distillation" if record.get("objective") else "sft"


def _title(record: Record) -> str:
    return f"{short(record['student'])}, {'distilled' if _kind(record) == 'distillation' else 'fine-tuned'}"


def _summary(record: Record) -> str:
    teachers = ", ".join(named(model) for model in (record.get("teachers") or {}).values())
    if _kind(record) == "distillation":
        what = f"on-policy distillation across tokenizers: trained on its own samples under {teachers or 'a teacher'}"
    else:
        what = f"supervised fine-tuning on {f'responses of {teachers}' if teachers else 'given responses'}"
    step, last = record.get("step", 0), record.get("max_steps", 0)
    at = f" This is its state after step {step} of {last}." if step < last else ""
    return f"{named(record['student'])} after {what}.{at}"


def _run_file(config: Any) -> str:
    """The configuration as JSON, without what was left open and without addresses of servers."""
    return _URL.sub("URL", json.dumps(_given(config), indent=2, ensure_ascii=False, default=str))


def _given(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _given(entry) for key, entry in value.items() if entry not in (None, {}, [])}
