"""Invented names for an invented tree of life: Latin-like with rank-typical endings, and common names that describe.

Takes a random generator, a table of node numbers and the genomes; returns names, one a taxon. Invented stems are
unlike known genera; a scientific name here stands for nothing in any backbone.
"""

import numpy as np
import pandas as pd

from ... import RANKS
from .canvas import MAIN, TRAITS, Traits
from .render import body_colours

ENDINGS = {
    "animal": {"kingdom": "Fictanimalia", "phylum": "ozoa", "class": "oidea", "order": "iformes", "family": "idae"},
    "plant": {"kingdom": "Fictoplantae", "phylum": "ophyta", "class": "opsida", "order": "ales", "family": "aceae"},
    "fungus": {"kingdom": "Fictofungi", "phylum": "omycota", "class": "omycetes", "order": "ales", "family": "aceae"},
    "shell": {"kingdom": "Fictochromista", "phylum": "ophora", "class": "ophyceae", "order": "ales", "family": "aceae"},
}
"""The kingdom of each body plan and the endings of its higher taxa."""

GENUS_ENDINGS = {
    "animal": ("us", "is", "ops", "ura", "odon", "ix"),
    "plant": ("ia", "anthe", "ella", "era", "ium"),
    "fungus": ("omyces", "ospora", "omphus", "ina"),
    "shell": ("aria", "onema", "iscus", "osphaera"),
}
ONSETS = ("vr", "zw", "qu", "thr", "dw", "gl", "sk", "bl", "z", "v", "kn", "j", "dr", "f", "m", "k", "tw", "l", "b")
VOWELS = ("a", "e", "i", "o", "u", "au", "y")
CODAS = ("nd", "lk", "rv", "sk", "mb", "th", "rg", "ld", "v", "k", "x", "m", "rn")
EPITHET_ENDINGS = ("ensis", "ata", "osa", "ina", "ifera", "ula", "estris", "ica", "oides", "escens")

NOUN_HEADS = """
drum thorn moon reed fern ember salt dusk bell frost lantern willow copper marsh cloud needle velvet
puddle thistle amber river whisper tumble cinder pebble hollow silk bramble clover gale honey lichen ripple saddle
""".split()
NOUN_TAILS = {
    "animal": ("crawler", "horn", "strider", "snout", "runner", "creeper", "beak", "wriggler", "back", "delver"),
    "winged animal": ("wing", "skipper", "flitter", "dancer", "glider", "drifter", "fan", "plume", "darter", "veil"),
    "plant": ("bloom", "wort", "leaf", "petal", "cress", "bell", "weed", "blossom", "crown", "sprig"),
    "fungus": ("cap", "stool", "button", "bonnet", "gill", "goblet", "parasol"),
    "shell": ("star", "shell", "wheel", "disc", "rosette", "jelly", "lace"),
}

HUES = ("rose", "scarlet", "orange", "golden", "lime", "green", "jade", "teal", "azure", "blue", "violet", "magenta")
PATTERNS = ("banded", "striped", "spotted", "marbled")
FORMS = {
    "animal": {
        "wing_size": ("short-winged", "great-winged"),
        "body_width": ("slender", "stout"),
        "tail_length": ("stub-tailed", "long-tailed"),
        "antenna_length": ("bare-browed", "long-horned"),
        "appendage_length": ("short-legged", "long-legged"),
        "appendage_count": ("few-legged", "many-legged"),
        "eye_size": ("small-eyed", "big-eyed"),
        "body_length": ("short", "long"),
    },
    "plant": {
        "wing_size": ("small-flowered", "large-flowered"),
        "appendage_length": ("short-leaved", "long-leaved"),
        "appendage_width": ("narrow-leaved", "broad-leaved"),
        "appendage_count": ("few-petalled", "many-petalled"),
        "segment_count": ("few-leaved", "many-leaved"),
        "wing_width": ("thread-petalled", "broad-petalled"),
    },
    "fungus": {
        "wing_size": ("narrow-capped", "broad-capped"),
        "front_size": ("flat-topped", "tall-topped"),
        "body_width": ("thin-stemmed", "thick-stemmed"),
        "wing_skew": ("pointed", "blunt"),
        "appendage_count": ("coarse-gilled", "fine-gilled"),
    },
    "shell": {
        "appendage_length": ("short-spined", "long-spined"),
        "appendage_count": ("few-rayed", "many-rayed"),
        "wing_size": ("lesser", "greater"),
        "eye_size": ("small-hearted", "great-hearted"),
        "body_length": ("round", "oval"),
        "segment_count": ("smooth", "ringed"),
    },
}
"""Words for what is visible: (low, high) of a trait, by body plan."""


def invent_stem(rng: np.random.Generator, n_syllables: int = 2) -> str:
    """Return a pronounceable stem that ends in a consonant."""
    syllables = [rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(n_syllables)]
    return "".join(syllables) + rng.choice(CODAS)


def _fresh(rng: np.random.Generator, taken: set[str], n_syllables: int = 2) -> str:
    """Return a stem that has not been taken, and take it; stems differ in their first five letters."""
    while True:
        stem = invent_stem(rng, n_syllables)
        if stem[:5] not in taken:
            taken.add(stem[:5])
            return stem


def name_taxa(nodes: pd.DataFrame, plans: list[str], rng: np.random.Generator) -> pd.DataFrame:
    """Name every taxon of node numbers (n_species, 7), unique within their rank; the species column holds the epithet.

    Genus, family and order share the stem of the type genus, as they do in nature.
    """
    taken: set[str] = set()
    names = {rank: {} for rank in RANKS}
    epithets: set[tuple] = set()
    for plan, row in zip(plans, nodes.to_dict("records"), strict=True):
        endings = ENDINGS[plan]
        names["kingdom"][row["kingdom"]] = endings["kingdom"]
        for rank in ("phylum", "class"):
            if row[rank] not in names[rank]:
                names[rank][row[rank]] = (_fresh(rng, taken, 1) + endings[rank]).capitalize()
        if row["genus"] not in names["genus"]:
            stem = _fresh(rng, taken)
            names["genus"][row["genus"]] = (stem + rng.choice(GENUS_ENDINGS[plan])).capitalize()
            for rank in ("order", "family"):
                names[rank].setdefault(row[rank], (stem + endings[rank]).capitalize())
        while (epithet := invent_stem(rng, 1) + rng.choice(EPITHET_ENDINGS)) and (row["genus"], epithet) in epithets:
            pass
        epithets.add((row["genus"], epithet))
        names["species"][row["species"]] = epithet
    return pd.DataFrame({rank: nodes[rank].map(names[rank]) for rank in RANKS})


def name_nouns(nodes: pd.DataFrame, genomes: np.ndarray, plans: list[str], rng: np.random.Generator) -> list[str]:
    """Return the noun of each species' common name: one a genus, whose second half is the family's ("drumbeak").

    The families of a kingdom share no second half before all are taken; winged animals have their own.
    """
    wings = pd.Series(Traits(genomes)["wing_size"][:, 0]).groupby(nodes["family"]).mean()
    kinds = [
        f"winged {plan}" if plan == "animal" and wings[f] > 0.45 else plan
        for plan, f in zip(plans, nodes["family"], strict=True)
    ]
    unused: dict[str, list[str]] = {}
    tails: dict[int, str] = {}
    nouns: dict[int, str] = {}
    for kind, family, genus in zip(kinds, nodes["family"], nodes["genus"], strict=True):
        if family not in tails:
            left = unused.get(kind) or list(rng.permutation(NOUN_TAILS[kind]))
            tails[family], unused[kind] = str(left[0]), left[1:]
        if genus not in nouns:
            nouns[genus] = _fresh_noun(tails[family], set(nouns.values()), rng)
    return [nouns[genus] for genus in nodes["genus"]]


def _fresh_noun(tail: str, taken: set[str], rng: np.random.Generator) -> str:
    """Return a noun that ends in `tail` and is not taken; with two heads only when all with one are."""
    free = [head + tail for head in NOUN_HEADS if head + tail not in taken]
    while not free:
        first, second = rng.choice(NOUN_HEADS, 2)
        free = [noun for noun in [f"{first} {second}{tail}"] if noun not in taken]
    return str(rng.choice(free))


def common_names(genomes: np.ndarray, plans: list[str], nouns: list[str]) -> list[str]:
    """Return a unique common name a species: form, pattern and colour as they are seen, then the noun.

    Such as "long-tailed spotted azure drumbeak". Where two would be equal, the second takes its next form word.
    """
    names: list[str] = []
    for genome, plan, noun in zip(genomes, plans, nouns, strict=True):
        traits = Traits(genome[None])
        words = form_words(traits, plan)
        seen = f"{pattern_word(traits)} {colour_word(traits, plan)} {noun}"
        candidates = [f"{word} {seen}" for word in words]
        candidates += [f"{a} {b} {seen}" for a in words for b in words if a != b]
        names.append(next(name for name in candidates if name not in names))
    return names


def form_words(traits: Traits, plan: str) -> list[str]:
    """Return the words for one species' form, its most unusual trait first."""
    latent = {name: float(traits.latent[0, TRAITS.index(name)]) for name in FORMS[plan]}
    return [FORMS[plan][name][int(latent[name] > 0)] for name in sorted(latent, key=lambda name: -abs(latent[name]))]


def pattern_word(traits: Traits) -> str:
    """Return the word for one species' strongest pattern, "plain" where all are weak."""
    first = TRAITS.index("bands")
    logits = traits.latent[0, first : first + 4]
    return PATTERNS[int(logits.argmax())] if logits.max() > 0.1 else "plain"


def colour_word(traits: Traits, plan: str) -> str:
    """Return the word for one species' first colour: of the flower, else of the body."""
    lightness, chroma, hue = body_colours(plan, traits)[0, MAIN if plan != "plant" else MAIN + 2]
    if chroma < 0.055:
        return "ebony" if lightness < 0.45 else "grey" if lightness < 0.65 else "ivory"
    word = HUES[int((hue % 360) // 30)]
    shade = "dark " if lightness < 0.45 else "pale " if lightness > 0.72 else ""
    return shade + word
