"""Configuration of a run: every setting with its meaning, default and limits, and profiles as differences from them.

``load_config("mini", {"train.steps": 100})`` returns a `Config`; ``help(TrainConfig)`` shows a section's settings.
An unknown profile, key or type, and a value out of its limits, is an `InputError` that says what there is.
`sections` holds the settings, `limits` how their limits are kept, `profiles` the profiles and how one is loaded.
"""

from .profiles import PROFILES, RUN_VARIABLE, deciding, flat, load_config, setting_names
from .sections import (
    AVILIST,
    BARE_NAMES,
    CAPTIONS,
    DESCRIPTION,
    FREE_SETTINGS,
    LANGUAGES,
    NCBI,
    OBJECTIVES,
    Config,
    DataConfig,
    EvaluateConfig,
    ModelConfig,
    ShardConfig,
    SplitConfig,
    SyntheticConfig,
    TrainConfig,
)

__all__ = [
    "AVILIST",
    "BARE_NAMES",
    "CAPTIONS",
    "DESCRIPTION",
    "FREE_SETTINGS",
    "LANGUAGES",
    "NCBI",
    "OBJECTIVES",
    "PROFILES",
    "RUN_VARIABLE",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "ModelConfig",
    "ShardConfig",
    "SplitConfig",
    "SyntheticConfig",
    "TrainConfig",
    "deciding",
    "flat",
    "load_config",
    "setting_names",
]
