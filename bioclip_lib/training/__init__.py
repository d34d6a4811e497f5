"""From pairs to weights: a run's shards go in, a trained model, its log and checkpoints come out.

`data` loads what is trained on; `loaders` draw the pairs of a step, `batches` their captions and crops; `objectives`
turn features into one of the `losses`; `optimizer` turns gradients into weights; `trainer` does a step, `loop` all of
them, with `checkpoints`. `adapt` has low-rank factors and compiled towers, `distributed` several processes that
`torchrun` or `processes` start, `costs` what it takes.
"""

from .batches import TrainData, draw_types
from .costs import cost_at_this_rate, cost_in_words, training_summary
from .data import load_training_data, start_projection
from .loop import fit
from .processes import train_in_processes

__all__ = [
    "TrainData",
    "cost_at_this_rate",
    "cost_in_words",
    "draw_types",
    "fit",
    "load_training_data",
    "start_projection",
    "train_in_processes",
    "training_summary",
]
