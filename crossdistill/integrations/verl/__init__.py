"""The plug-in for verl 0.9: distillation across tokenizers inside of ``verl.trainer.main_ppo``.

A response is scored by the teacher as soon as it is sampled. The advantages of its tokens travel where verl keeps a
reward for each token, and an advantage estimator of this package hands them on to verl's clipped policy loss.

==============  =====================================================================================
``options``     the section ``crossdistill`` of verl's configuration
``checks``      what must hold in the rest of verl's configuration
``teaching``    from the options to teachers and a :class:`crossdistill.distill.Distiller`
``scoring``     scores what the samplers of one process have sampled
``record``      what travels with a response: figures for the log, or why there are none
``watch``       the figures of a batch: metrics, watchdog, coverage guard
``run_file``    a run file of ours as verl's configuration; ``honoured`` has what verl can honour, ``dropout`` what
                it leaves on
``checkpoints`` the one that a run went on from, and one if it must end
``plugin``      registers with verl: agent loops, advantage estimator (imports verl)
``driver``      seams in verl's driver: agent loop manager, replay buffer, checkpoints (imports verl)
==============  =====================================================================================

``loading`` checks that verl loads the plug-in. ``data`` and ``write`` write what verl reads. Only ``plugin`` and
``driver`` import verl, and nothing imports TRL except ``run_file`` and ``write``.
"""

NAME = "crossdistill"
"""Under which the plug-in is registered: advantage estimator, agent loop, section of the configuration."""
TOOLS = "crossdistill_tools"
"""The agent loop with tools."""
