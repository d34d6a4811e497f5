"""What a training took, and what another would take at its rate, by hand."""

import numpy as np
import pandas as pd
import pytest

from bioclip_lib.config import load_config
from bioclip_lib.model.towers import build_model
from bioclip_lib.training import cost_at_this_rate, training_summary
from bioclip_lib.training.costs import N_TOKENS, training_flops

LOG = pd.DataFrame({"images_per_s": [np.nan, 10.0, 30.0, 20.0], "data_wait": [0.9, 0.1, 0.3, 0.2],
                    "gpu_gib": [0.0, 1.26, 2.0, 1.0], "duplicates": [0.1, 0.3, 0.1, 0.1],
                    "wall_s": [1.0, 2.0, 3.0, 4.04]})  # fmt: skip


def test_a_log_is_summed_up_by_hand():
    found = training_summary(LOG, load_config("smoke", {"train.batch_size": 64}), n_images=50)
    assert found.tolist() == [200, 4.0, 20.0, 25.0, 2.0, 15.0, 4.0]  # a batch is at most the set


def test_the_cost_elsewhere_follows_from_operations_and_rate():
    clip, paper = (build_model(load_config(name, {"model.pretrained": ""}).model) for name in ("smoke", "paper"))
    ours, theirs = (training_flops(model, 1, 1, N_TOKENS) for model in (clip, paper))
    hour = 20 * 3_600 * ours / theirs  # pairs of the large model in an hour at 20 of the small one's a second
    found = cost_at_this_rate(clip, LOG, n_pairs=3 * hour, watts=500)
    assert found.tolist() == pytest.approx([20 * ours / 1e9, 3.0, 1.5])
