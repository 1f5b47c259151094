# The public names, in the order in which a user meets them.
# ruff: noqa: I001

__version__: str

# Measure
from .superposition import capacity as capacity, interference as interference, polysemanticity as polysemanticity

# Losses
from .losses.importance import importance_loss as importance_loss, information_loss as information_loss
from .losses.interaction import interaction_loss as interaction_loss

# Train
from .config import Regularization as Regularization
from .model.attach import attach as attach, detach as detach, parameter_groups as parameter_groups
from .model.save import load as load, save as save
from .model.trainer_callback import RegularizationCallback as RegularizationCallback

# Explain
from .attribution.explain import explain as explain
from .attribution.explanation import (
    Explanation as Explanation,
    Explanations as Explanations,
    TextNeurons as TextNeurons,
)
from .attribution.generation import OutputExplanation as OutputExplanation, explain_output as explain_output
from .attribution.explanation_files import explain_to_parquet as explain_to_parquet
from .model.trace import Trace as Trace, trace as trace

# Prove
from .evaluation.benchmark import benchmark as benchmark
from .evaluation.evaluate import evaluate as evaluate
from .evaluation.neuron_measures import NeuronMeasures as NeuronMeasures, measure_neurons as measure_neurons
from .evaluation.srs import SRSResult as SRSResult, srs as srs

# Runs
from .config import Architecture as Architecture, Recipe as Recipe, Settings as Settings
from .data.sources import load_data as load_data
from .data.splits import Split as Split, TextDataset as TextDataset
from .errors import InputError as InputError
from .runs import Run as Run, open_run as open_run
from .training import train as train

# Parts
from .model.transformer import (
    TransformerConfig as TransformerConfig,
    TransformerForSequenceClassification as TransformerForSequenceClassification,
)
from .model.vmask import VMASK as VMASK
