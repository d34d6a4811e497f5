"""From pairs to weights."""

from .costs import estimate_cost, training_flops
from .data import load_training_data, start_projection
from .loop import fit
from .processes import train_in_processes

__all__ = ["estimate_cost", "fit", "load_training_data", "start_projection", "train_in_processes", "training_flops"]
