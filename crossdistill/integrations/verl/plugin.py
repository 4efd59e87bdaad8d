"""What is registered with verl in each of its processes: agent loops and an advantage estimator."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from omegaconf import OmegaConf
from pydantic import Field
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput, register
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.experimental.agent_loop.tool_agent_loop import ToolAgentLoop
from verl.trainer.ppo.core_algos import register_adv_est

from crossdistill.distill.routing import COLUMN
from crossdistill.errors import InputError, TeacherError
from crossdistill.integrations.verl import NAME, TOOLS
from crossdistill.integrations.verl.checks import teaching_of
from crossdistill.integrations.verl.options import VerlOptions, parse
from crossdistill.integrations.verl.record import FIELD, Record, ResponseError
from crossdistill.integrations.verl.scoring import Gathering, Sample, SampleScorer, ScoredSample
from crossdistill.train.monitor.rollout_sums import RolloutSums

IS_VALIDATION = "is_validation"
"""Column that the agent loop manager adds to verl's prompts."""


class ScoredOutput(AgentLoopOutput):
    """A response of verl's with one reward for each token; the reward of the whole is not used."""

    token_rewards: list[float] = Field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The fields that verl transports."""
        fields: dict[str, Any] = AgentLoopOutput.as_dict(self.model_copy(update={"reward_score": None}))
        fields["rm_scores"] = torch.tensor(fields.pop("token_rewards"), dtype=torch.float32)
        return fields


class Distilling:
    """Has the responses of an agent loop of verl's scored; to be mixed in before it."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """Sample a response, or several turns of one, and score it."""
        sampler = _sampler_of(self)
        is_validation = bool(kwargs.pop(IS_VALIDATION, False))
        try:
            stops = sorted({*(sampling_params.get("stop_token_ids") or []), *await sampler.stop_ids()})
            output = await super().run({**sampling_params, "stop_token_ids": stops}, **kwargs)  # type: ignore[misc]
            if is_validation and sampler.options.validation == "reward":
                output.extra_fields[FIELD] = Record().as_dict()
                return output
            scored = await sampler.scored(self.sample(output, kwargs))
        except (
            InputError,
            TeacherError,
            ResponseError,
        ) as error:  # the driver raises it: verl would go on with what is left
            return _failed(error)
        return with_gap(output, scored) if is_validation else with_signal(output, scored)

    def sample(self, output: AgentLoopOutput, row: Mapping[str, Any]) -> Sample:
        """What is scored of a response to a row of the data."""
        return Sample(
            list(row["raw_prompt"]),
            output.prompt_ids,
            output.response_ids,
            output.response_mask,
            output.response_logprobs,
            self.conversation(len(row["raw_prompt"])),
            self.offered_tools(),
            row.get(COLUMN),
        )

    def conversation(self, prompt_size: int) -> Sequence[dict[str, Any]]:
        """The messages after those of the prompt."""
        return ()

    def offered_tools(self) -> Sequence[Mapping[str, Any]]:
        """JSON schemas of the tools that the student was shown."""
        return ()


@register(NAME)
class DistillationLoop(Distilling, SingleTurnAgentLoop):
    """One response to each prompt."""


@register(TOOLS)
class ToolDistillationLoop(Distilling, ToolAgentLoop):
    """Turns with tool calls between them, which are scored one by one."""

    async def _handle_pending_state(self, agent_data: Any, sampling_params: dict[str, Any]) -> Any:
        self._agent_data = agent_data  # of this conversation: verl makes a loop for each
        return await super()._handle_pending_state(agent_data, sampling_params)

    def conversation(self, prompt_size: int) -> Sequence[dict[str, Any]]:
        return list(self._agent_data.messages[prompt_size:])

    def offered_tools(self) -> Sequence[Mapping[str, Any]]:
        return list(self._agent_data._active_tool_schemas)


@register_adv_est(NAME)
def advantages(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hand on the rewards of the tokens as their advantages: not summed over what follows, not normalised.

    Args:
        token_level_rewards: nats, [B, C]: the advantages.
        response_mask: [B, C], 1 at supervised tokens.
    """
    values = token_level_rewards * response_mask
    return values, values


def with_signal(output: AgentLoopOutput, scored: ScoredSample) -> AgentLoopOutput:
    """A response for training. What has no signal is no part of the loss, nor of its mean."""
    fields = _fields(output, scored.record)
    mask = scored.mask.astype(int).tolist()
    return ScoredOutput(**fields, token_rewards=scored.advantages.tolist()).model_copy(update={"response_mask": mask})


def with_gap(output: AgentLoopOutput, scored: ScoredSample) -> AgentLoopOutput:
    """A response of a validation: its reward is minus the teacher gap, in nats per byte, so that higher is better.

    One without a supervised token has no gap; the replay buffer leaves it out.
    """
    metrics = RolloutSums(*scored.record.sums).metrics()
    gap = metrics.get("teacher_gap", 0.0)
    fields = _fields(output, scored.record)
    fields["extra_fields"]["reward_extra_info"] = {
        "teacher_gap": gap,
        "coverage": metrics["coverage"],
        "stopped": metrics["stopped"],
    }
    rewards = [0.0] * max(0, len(output.response_ids) - 1) + [-gap] * bool(output.response_ids)
    return ScoredOutput(**fields, token_rewards=rewards)


def _fields(output: AgentLoopOutput, record: Record) -> dict[str, Any]:
    fields = {name: getattr(output, name) for name in output.model_fields_set}
    return {
        **fields,
        "reward_score": 0.0,  # so that verl asks no reward function
        "extra_fields": {**output.extra_fields, FIELD: record.as_dict()},
    }


def _failed(error: InputError | TeacherError | ResponseError) -> AgentLoopOutput:
    """A response of one token without a signal, which carries what went wrong to the driver."""
    return ScoredOutput(
        prompt_ids=[0],
        response_ids=[0],
        response_mask=[0],
        response_logprobs=[0.0],
        metrics={},
        num_turns=0,
        reward_score=0.0,
        token_rewards=[0.0],
        extra_fields={FIELD: Record.of_error(error).as_dict()},
    )


class _Sampler:
    """What the agent loops of a process share."""

    def __init__(self, config: dict[str, Any], tokenizer: Any):
        self.options: VerlOptions = parse(config[NAME])
        scorer = SampleScorer(teaching_of(config, self.options, tokenizer))
        self._scores: Gathering[Sample, ScoredSample] = Gathering(scorer.score)
        self._stops: Gathering[None, list[int]] = Gathering(lambda items: [scorer.stop_ids() for _ in items])

    async def stop_ids(self) -> list[int]:
        """The token ids that end the student's turns. The first call reads the teachers."""
        return await self._stops.of(None)

    async def scored(self, sample: Sample) -> ScoredSample:
        return await self._scores.of(sample)


_samplers: dict[asyncio.AbstractEventLoop, _Sampler] = {}


def _sampler_of(loop: Any) -> _Sampler:
    """Those of a process have one event loop and one configuration."""
    running = asyncio.get_running_loop()
    if running not in _samplers:
        _samplers[running] = _Sampler(OmegaConf.to_container(loop.config, resolve=True), loop.tokenizer)
    return _samplers[running]


logging.getLogger(NAME).info("the plug-in of crossdistill is registered with verl")
