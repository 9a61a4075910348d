"""What authors of plugins build on, in one place: contracts, contexts and records.

A plugin is one frozen dataclass in one module of any package, under an entry point of the group `aftertune.<kind>`
(`corpus`, `mitigation`, `benchmark`, `backend`, `judge`, `analysis`, `predictor`, `executor`): its fields are its
parameters, its base class says what it must and what it may do.
"""

from __future__ import annotations

from aftertune.asking.benchmark import Benchmark, BenchmarkContext
from aftertune.data.datasets import Dataset, RemoteFile
from aftertune.errors import AftertuneError, DataError, JudgeError, ModelError, ServerError, UsageError
from aftertune.forecasting.predictor import Feature, OwnAnswer, Predictor, TuningData
from aftertune.inside.analysis import Activations, Analysis, Quantity, ReadPrompt
from aftertune.judging.judge import Anchor, Answer, Cost, Judge, JudgeContext, Opinion
from aftertune.judging.judge import Contrast as AnswerContrast
from aftertune.judging.judge import Price as JudgePrice
from aftertune.models.session import Backend, Beginnings, BeginningScore, Reply, Request, Session, TextScore
from aftertune.plugins import Card, Plugin, PluginSpec
from aftertune.records import (
    Accumulation,
    Arm,
    Conversation,
    Message,
    Metric,
    Person,
    Probe,
    Prompt,
    Proof,
    Recipe,
    Span,
)
from aftertune.run.executor import Executor
from aftertune.run.job import Job, Output
from aftertune.tuning.mitigation import FurtherWeights, Mitigation, Step, Training, TunedModel, TunedWeights
from aftertune.variants.corpus import Corpus

__all__ = [
    "Accumulation",
    "Activations",
    "AftertuneError",
    "Analysis",
    "Anchor",
    "Answer",
    "AnswerContrast",
    "Arm",
    "Backend",
    "BeginningScore",
    "Beginnings",
    "Benchmark",
    "BenchmarkContext",
    "Card",
    "Conversation",
    "Corpus",
    "Cost",
    "DataError",
    "Dataset",
    "Executor",
    "Feature",
    "FurtherWeights",
    "Job",
    "Judge",
    "JudgeContext",
    "JudgeError",
    "JudgePrice",
    "Message",
    "Metric",
    "Mitigation",
    "ModelError",
    "Opinion",
    "Output",
    "OwnAnswer",
    "Person",
    "Plugin",
    "PluginSpec",
    "Predictor",
    "Probe",
    "Prompt",
    "Proof",
    "Quantity",
    "ReadPrompt",
    "Recipe",
    "RemoteFile",
    "Reply",
    "Request",
    "ServerError",
    "Session",
    "Span",
    "Step",
    "TextScore",
    "Training",
    "TunedModel",
    "TunedWeights",
    "TuningData",
    "UsageError",
]
