"""The monitors of a run."""

from collections.abc import Mapping
from typing import Any

from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill import Distiller, Routing
from crossdistill.findings import FindingLog
from crossdistill.flops import ModelFlops
from crossdistill.train.monitor.base import Monitor
from crossdistill.train.monitor.completion_log import CompletionLog
from crossdistill.train.monitor.rollout_metrics import RolloutMetrics
from crossdistill.train.monitor.sampler_watch import SamplerWatch
from crossdistill.train.monitor.template_warnings import PairWarnings, TemplateWarnings
from crossdistill.train.monitor.usage import Usage
from crossdistill.train.monitor.watchdog import Watchdog


class RunMonitors:
    """Every monitor that a run has.

    Args:
        distiller: its teachers, vocabulary and timers are those of the run.
        renderers: how each teacher's prompts are rendered.
        labels: names of the teachers in warnings.
        routing: which teacher scores which prompt.
        student: what the student computes.
        num_iterations: optimisation steps on a batch of rollouts.
        is_main_process: whether this process emits warnings.
        logs: TRL's completion logs.
        findings: receives what is found about templates.
        stops: whether the ends of turns are taught.
    """

    def __init__(
        self,
        distiller: Distiller,
        renderers: Mapping[str, PromptRenderer],
        labels: Mapping[str, str],
        routing: Routing,
        student: ModelFlops,
        num_iterations: int,
        is_main_process: bool,
        logs: Mapping[str, Any],
        findings: FindingLog,
        stops: bool,
    ):
        teachers = {name: teacher.flops for name, teacher in distiller.teachers.items()}
        pairs = {
            name: PairWarnings(distiller.renderer, renderer, findings, labels[name], stops)
            for name, renderer in renderers.items()
        }
        self.usage = Usage(student, teachers, num_iterations, is_main_process)
        self.metrics = RolloutMetrics(distiller.timers, distiller.teachers)
        self.watchdog = Watchdog(is_main_process)
        self.sampler = SamplerWatch(self.watchdog)
        self.templates = TemplateWarnings(pairs, routing)
        self.completions = CompletionLog(distiller.vocab, logs)

    @property
    def all(self) -> list[Monitor]:
        """In the order in which they see a batch."""
        return [self.usage, self.templates, self.metrics, self.watchdog, self.sampler, self.completions]
