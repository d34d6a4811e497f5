"""What body plans are drawn with: named traits, a canvas of layers and materials, and implicit shapes.

Takes body coordinates of pixels and genomes; a shape is a signed distance (negative inside) over those coordinates, a
layer a coverage with a material. Colours, light and background are `render`'s.
"""

from dataclasses import dataclass, field

import numpy as np

PLANS = ("animal", "plant", "fungus", "shell")
"""The body plans; a genome starts with one indicator a plan."""

TRAITS = (
    *("hue", "chroma", "lightness", "second_hue", "second_lightness", "accent_hue", "accent_chroma"),
    *("bands", "stripes", "spots", "marble", "pattern_frequency", "pattern_contrast", "pattern_warp"),
    *("gloss", "roughness", "rim", "body_length", "body_width", "front_size", "rear_size", "segment_count"),
    *("appendage_count", "appendage_length", "appendage_width", "appendage_angle", "appendage_curl"),
    *("wing_size", "wing_width", "wing_angle", "wing_skew", "hindwing_size", "wing_eyespot"),
    *("tail_length", "tail_fork", "antenna_length", "eye_size", "lobing"),
)
"""The continuous traits, standard normal over species. A trait stands for homologous organs in all plans: what makes
long legs in an animal makes long leaves in a plant and long spines in a shell."""

MAIN, SECOND, ACCENT, DARK, LIGHT, LIMB, TIP = range(7)
"""Materials: columns of the palette."""


class Traits:
    """Named columns of genomes (B, len(PLANS) + len(TRAITS)), squashed into (0, 1).

    What an `individual` (B, len(TRAITS)) adds changes sizes and shades, never which organs there are, how many, or the
    kind of pattern.
    """

    def __init__(self, genomes: np.ndarray, individual: np.ndarray | float = 0.0) -> None:
        self.species_latent = genomes[:, len(PLANS) :].astype(np.float32)
        self.latent = (self.species_latent + individual).astype(np.float32)
        # nearly the normal distribution function, so that a share is about uniform over species
        self.species_share, self.share = (1 / (1 + np.exp(-1.7 * z)) for z in (self.species_latent, self.latent))

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a trait in (0, 1), float32 of shape (B, 1)."""
        return _column(self.share, name)

    def count(self, name: str, low: int, high: int) -> np.ndarray:
        """Return a trait of the species as a whole number from `low` to `high`, float32 of shape (B, 1)."""
        return np.floor(low + _column(self.species_share, name) * (high - low + 0.999))

    def has(self, name: str, threshold: float) -> np.ndarray:
        """Return whether the species has an organ, 1 above the threshold and 0 below it, float32 of shape (B, 1)."""
        return (_column(self.species_share, name) > threshold).astype(np.float32)

    def beyond(self, name: str, threshold: float) -> np.ndarray:
        """Return how far a trait is above a threshold, exactly 0 where the species lacks the organ and at most 1."""
        above = np.maximum(0.02, (self[name] - threshold) / (1 - threshold))
        return above * self.has(name, threshold)


def _column(table: np.ndarray, name: str) -> np.ndarray:
    column = TRAITS.index(name)
    return table[:, column : column + 1]


@dataclass
class Canvas:
    """What has been drawn so far, front to back; arrays are float32 (B, P), P pixels."""

    u: np.ndarray  # along the body's axis, the front is +1
    v: np.ndarray  # across it
    px: np.ndarray  # (B, 1), width of a pixel in body units, for smooth edges
    grain: np.ndarray  # smooth noise that moves with the body, about -1 to 1
    fuzz: np.ndarray  # and rough
    weights: dict[int, np.ndarray] = field(default_factory=dict)  # visible share of each material
    skins: list[tuple[int, int, np.ndarray]] = field(default_factory=list)  # (material, other in its pattern, part)

    def __post_init__(self) -> None:
        self.clear = np.ones_like(self.u)  # what can still be seen through
        # height of the surface in body units; coordinates of the pattern on the front surface
        self.relief, self.p, self.q = (np.zeros_like(self.u) for _ in range(3))

    def cover(self, distance: np.ndarray) -> np.ndarray:
        """Return the coverage of pixels by a shape whose signed distance is negative inside."""
        share = distance * (-1 / self.px)
        share += 0.5
        return np.clip(share, 0, 1, out=share)

    def put(
        self,
        alpha: np.ndarray,
        material: int,
        relief: np.ndarray | float = 0.0,
        mark: tuple = (),
        skin: tuple | None = None,
    ) -> None:
        """Put a layer behind what is there.

        Each (share, material) of `mark` is painted on it, the first on top; below these lies its pattern in another
        material, if `skin` = (p, q, other material) gives it coordinates.
        """
        seen = alpha * self.clear
        self.clear -= seen
        self.relief += seen * relief
        if skin is not None:
            front = seen > 0.3
            np.copyto(self.p, skin[0], where=front)
            np.copyto(self.q, skin[1], where=front)
        for share, other in mark:
            part = seen * share
            seen = seen - part
            self._add(other, part)
        if skin is not None:
            self.skins.append((material, skin[2], seen))
        else:
            self._add(material, seen)

    def finish(self, t: Traits) -> None:
        """Paint the pattern, at once on all surfaces that have one."""
        share = pattern(self.p, self.q, self.grain, t)
        for material, other, part in self.skins:
            painted = part * share
            self._add(other, painted)
            self._add(material, part - painted)

    def _add(self, material: int, part: np.ndarray) -> None:
        if material in self.weights:
            self.weights[material] += part
        else:
            self.weights[material] = part


def pattern(p: np.ndarray, q: np.ndarray, grain: np.ndarray, t: Traits) -> np.ndarray:
    """Return the share of the second colour over surface coordinates, (B, P) in [0, 1].

    Bands run across `p`, stripes along it; spots are their product. The latent traits are logits of the mixture.
    """
    first = TRAITS.index("bands")
    logits = np.exp(3 * t.species_latent[:, first : first + 4])
    logits /= logits.sum(1, keepdims=True) + 1  # 1: the weight of a plain surface
    bands, stripes, spots, marble = (logits[:, k : k + 1] for k in range(4))
    f = 7 + 15 * t["pattern_frequency"]
    bent = (0.05 + 0.3 * t["pattern_warp"]) * grain
    cp = np.cos(f * (p + 0.5 * bent))
    cq = np.cos(f * (q + 0.3 * bent))
    plain = 1 - bands - stripes - spots - marble
    s = bands * cp + stripes * cq + (2.2 * spots) * (cp * cq) + (1.8 * marble) * grain - (0.7 * spots + 0.9 * plain)
    return np.clip(0.5 + 2.4 * s, 0, 1) * (0.45 + 0.55 * t["pattern_contrast"])


def ellipse(p: np.ndarray, q: np.ndarray, rp: np.ndarray, rq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the approximate signed distance to an ellipse and its normalised radius, each (B, P)."""
    radius = np.sqrt((p / rp) ** 2 + (q / rq) ** 2)
    return (radius - 1) * np.minimum(rp, rq), radius


def dome(radius: np.ndarray, height: np.ndarray | float) -> np.ndarray:
    """Return the relief of a dome from a normalised radius."""
    return height * np.sqrt(np.maximum(0, 1 - radius * radius))


def blade(a: np.ndarray, b: np.ndarray, length: np.ndarray, shape: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return signed distance, position 0..1 along, and half-width of a blade: leaf, petal, wing.

    `a` runs along the blade from its base, `b` across; `shape` is (half-width, skew, acuteness): a positive skew is
    broad at the tip, acuteness 0 round to 1 pointed.
    """
    width, skew, acute = shape
    t = np.clip(a / length, 0, 1)
    root = np.sqrt(t - t * t)
    half = root * ((2 * width) * (1 - acute) + (4 * width * acute) * root) * (1 - skew + (2 * skew) * t)
    return np.abs(b) - half + np.abs(a - t * length), t, half


def lines(phase: np.ndarray, sharpness: float = 5.0) -> np.ndarray:
    """Return thin lines where the phase crosses whole multiples of pi, in [0, 1]."""
    return np.maximum(0, 1 - sharpness * np.abs(np.sin(phase)))
