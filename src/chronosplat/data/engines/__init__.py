"""Engines that run jobs: processes of this machine, or a Ray cluster."""

from chronosplat.data.engines import cluster, local
from chronosplat.data.engines.engine import ENGINES, Engine, Job, Outcome, Work, Workers, register_engine, start_engine
