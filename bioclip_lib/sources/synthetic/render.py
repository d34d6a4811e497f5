"""From genome to image: pose, light, textured background, shadow, occlusion and sensor noise around a body plan.

`render` takes genomes and one 64-bit seed an image; returns uint8 RGB. All that is random in image i is a hash of seed
i, so that an image never depends on the batch that it is drawn in. Refuses sizes that show nothing.
"""

from functools import lru_cache

import numpy as np

from ...errors import InputError
from .bodies import draw, extent
from .canvas import PLANS, TRAITS, Canvas, Traits

BATCH_PIXELS = 8 * 64 * 64  # arrays of this many float32 stay in a core's cache
INDIVIDUAL_SD = 0.12  # of each trait within a species, where the species' standard deviation is 1
SOIL, STONE, MOSS, OCCLUDER = range(7, 11)
"""Materials of the scene, after those of the body."""

TEXTURE_SIZE = 256


def hash_uniform(seeds: np.ndarray, stream: int, n: int) -> np.ndarray:
    """Return `n` uniform numbers an image, float32 (B, n), from a counter-based hash (splitmix64, Steele et al. 2014).

    Different streams of one seed are independent.
    """
    counter = np.arange(1 + 1000 * stream, 1 + 1000 * stream + n, dtype=np.uint64)
    z = mix64(mix64(np.asarray(seeds, np.uint64))[:, None] + counter * np.uint64(0x9E3779B97F4A7C15))
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(2**24)


def mix64(z: np.ndarray) -> np.ndarray:
    """Return splitmix64's finaliser of uint64 numbers: a bijection that scatters its bits."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hash_normal(seeds: np.ndarray, stream: int, n: int) -> np.ndarray:
    """Return `n` numbers an image, standard normal to the eye: sums of three uniforms, never beyond 3."""
    return 2 * (hash_uniform(seeds, stream, 3 * n).reshape(-1, n, 3).sum(2) - 1.5)


@lru_cache(maxsize=1)
def textures() -> np.ndarray:
    """Return tileable noise, float32 (4, TEXTURE_SIZE²): smooth, ridged, cells, fine; each about -1 to 1."""
    rng = np.random.default_rng(20_26)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(TEXTURE_SIZE), np.fft.fftfreq(TEXTURE_SIZE))) * TEXTURE_SIZE
    white = np.fft.fft2(rng.standard_normal((3, TEXTURE_SIZE, TEXTURE_SIZE)))
    fields = np.fft.ifft2(white * np.stack([1 / (3 + f) ** 2.2, 1 / (4 + f) ** 2, 1 / (30 + f) ** 0.9])).real
    fields /= fields.std(axis=(1, 2), keepdims=True)
    smooth, ridged, fine = fields
    points = rng.random((220, 2)) * TEXTURE_SIZE
    grid = np.arange(TEXTURE_SIZE)
    gaps = [np.abs(grid[:, None] - points[:, k]) for k in (0, 1)]
    near_y, near_x = (np.minimum(gap, TEXTURE_SIZE - gap) ** 2 for gap in gaps)
    distance = np.sqrt(np.sort(np.stack([near_y[:, None, k] + near_x[None, :, k] for k in range(220)]), axis=0)[:2])
    cells = np.clip((distance[1] - distance[0]) / 6 - 1, -1, 1)  # stones with joints between them
    stack = np.stack([0.5 * smooth, 1 - 1.6 * np.abs(ridged), cells, 0.5 * fine])
    return np.clip(stack, -1.5, 1.5).reshape(4, -1).astype(np.float32)


def texture_index(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return where in a tileable texture the coordinates fall, int32; the texture's side is 1."""
    mask = np.int32(TEXTURE_SIZE - 1)
    column = (x * TEXTURE_SIZE).astype(np.int32) & mask
    return ((y * TEXTURE_SIZE).astype(np.int32) & mask) * np.int32(TEXTURE_SIZE) + column


def render(genomes: np.ndarray, seeds: np.ndarray, size_px: int = 64, noise: float = 1.0) -> np.ndarray:
    """Draw one image a genome: uint8 (n, size_px, size_px, 3).

    The seeds (n,), uint64, decide pose, individual, light, background and occlusion; `noise` scales all variation
    within a species: at 0 all images of a genome are equal.
    """
    if size_px < 16 or noise < 0:
        raise InputError(
            f"images of {size_px} px with noise {noise}: take a size of at least 16 and a noise of at least 0"
        )
    images = np.empty((len(genomes), size_px, size_px, 3), np.uint8)
    plan_of = genomes[:, : len(PLANS)].argmax(1)
    step = max(1, BATCH_PIXELS // size_px**2)
    for plan_index, plan in enumerate(PLANS):
        rows = np.flatnonzero(plan_of == plan_index)
        for start in range(0, len(rows), step):
            batch = rows[start : start + step]
            images[batch] = _render_batch(plan, genomes[batch], seeds[batch], size_px, np.float32(noise))
    return images


def body_shares(genomes: np.ndarray, seeds: np.ndarray, size_px: int = 64, noise: float = 1.0) -> np.ndarray:
    """Return how much of each pixel of `render` shows the organism, float32 (n, size_px, size_px) in [0, 1]."""
    shares = np.empty((len(genomes), size_px, size_px), np.float32)
    plan_of = genomes[:, : len(PLANS)].argmax(1)
    for row, plan in enumerate(plan_of):
        one = slice(row, row + 1)
        _, canvas, xy = _drawn(PLANS[plan], genomes[one], seeds[one], size_px, np.float32(noise))
        share = 1 - canvas.clear
        grass, blade = _grass(seeds[one], xy, np.float32(noise))
        share[grass] *= 1 - blade[:, 0]
        shares[row] = share.reshape(size_px, size_px)
    return shares


def _drawn(plan: str, genomes: np.ndarray, seeds: np.ndarray, size_px: int, noise: np.float32) -> tuple:
    """Return traits, the canvas with their bodies, and the coordinates of its pixels."""
    traits = Traits(genomes, noise * INDIVIDUAL_SD * hash_normal(seeds, 0, len(TRAITS)))
    axis = (np.arange(size_px, dtype=np.float32) + 0.5) * 2 / size_px - 1
    x, y = np.tile(axis, size_px)[None], np.repeat(-axis, size_px)[None]  # each (1, P), y up
    canvas = _pose(traits, seeds, (x, y), noise, extent(plan, traits))
    draw(plan, canvas, traits)
    return traits, canvas, (x, y)


def _render_batch(plan: str, genomes: np.ndarray, seeds: np.ndarray, size_px: int, noise: np.float32) -> np.ndarray:
    traits, canvas, (x, y) = _drawn(plan, genomes, seeds, size_px, noise)
    shade, shine = _relief_light(canvas, traits, seeds, size_px, noise)
    behind = canvas.clear * _shadow(1 - canvas.clear, size_px)
    colours = _palette(plan, traits, seeds, noise)
    body = _mix(colours, canvas.weights)
    body *= shade[:, None]
    ground = _mix(colours, _ground(seeds, x, y, noise))
    ground *= behind[:, None]
    body += ground
    body += shine[:, None]
    _occlude(body, colours[:, OCCLUDER], seeds, (x, y), noise)
    return _develop(body, seeds, (x, y), noise)


def _mix(colours: np.ndarray, weights: dict[int, np.ndarray]) -> np.ndarray:
    """Return the light of weighted materials, (B, 3, P)."""
    materials = list(weights)
    chosen = np.ascontiguousarray(colours[:, materials].transpose(0, 2, 1), np.float32)
    return np.matmul(chosen, np.stack(list(weights.values()), 1))  # (B, 3, M) @ (B, M, P) -> (B, 3, P)


def _pose(t: Traits, seeds: np.ndarray, xy: tuple, noise: np.float32, fit: tuple) -> Canvas:
    """Return the canvas: pixels in body coordinates after shift, turn, scale, tilt and bend."""
    n = hash_normal(seeds, 1, 8) * noise
    turn, shift_x, shift_y, zoom, tilt, bend, grain_x, grain_y = (n[:, k : k + 1] for k in range(8))
    middle, half = fit
    scale = 0.84 / half * np.exp(0.1 * zoom)
    dx, dy = (xy[0] - 0.09 * shift_x) / scale, (xy[1] - 0.09 * shift_y) / scale
    cos, sin = np.cos(0.35 * turn), np.sin(0.35 * turn)
    u = dy * cos + dx * sin + middle  # (B, P)
    v = (dx * cos - dy * sin) * (1 + 0.08 * np.abs(tilt))
    v -= (0.1 * bend) * (u * u - 0.3)
    where = texture_index(0.22 * u + (5.3 + grain_x), 0.22 * v + (7.7 + grain_y))
    smooth, _, _, fine = textures()
    size_px = round(np.sqrt(xy[0].size))
    return Canvas(u, v, (2 / size_px / scale).astype(np.float32), smooth.take(where), fine.take(where))


def _relief_light(c: Canvas, t: Traits, seeds: np.ndarray, size_px: int, noise: np.float32) -> tuple:
    """Return diffuse shade and specular shine of the body's relief, each (B, P)."""
    h = c.relief + (0.03 * t["roughness"] ** 2) * c.fuzz * (1 - c.clear)
    h = h.reshape(-1, size_px, size_px)
    slope_x, slope_y = np.zeros_like(h), np.zeros_like(h)
    slope_x[:, :, 1:-1] = h[:, :, 2:] - h[:, :, :-2]
    slope_y[:, 1:-1] = h[:, :-2] - h[:, 2:]
    per_unit = (0.5 / c.px)[:, :, None]
    angle = 2.2 + 0.5 * noise * hash_normal(seeds, 2, 1)  # from the upper left
    lit = (slope_x * np.cos(angle)[:, :, None] + slope_y * np.sin(angle)[:, :, None]) * per_unit
    steep = (slope_x * slope_x + slope_y * slope_y) * (per_unit * per_unit)
    lambert = ((0.8 - 0.6 * lit) / np.sqrt(1 + steep)).reshape(c.u.shape)
    shine = np.clip(lambert - 0.86, 0, 0.14) * (7 * t["gloss"] ** 2) * (1 - c.clear)
    return np.clip(0.25 + 0.95 * lambert, 0.16, 1.4), 0.6 * shine


def _shadow(alpha: np.ndarray, size_px: int) -> np.ndarray:
    """Return what a soft shadow, cast to the lower right, leaves of the light, (B, P)."""
    step = max(1, round(size_px / 40))
    image = alpha.reshape(-1, size_px, size_px)
    soft = np.zeros_like(image)
    for k in (1, 2, 3):
        soft[:, k * step :, k * step :] += image[:, : -k * step, : -k * step]
    soft[:, step:, :] += image[:, :-step]
    return (1 - 0.13 * soft).reshape(alpha.shape)


def _ground(seeds: np.ndarray, x: np.ndarray, y: np.ndarray, noise: np.float32) -> dict[int, np.ndarray]:
    """Return the shares of three ground colours, each (B, P): two textures, stretched and turned at random."""
    r = hash_uniform(seeds, 3, 12)
    kind = np.floor(r[:, 0] * 3).astype(np.int64)[:, None] * TEXTURE_SIZE**2  # smooth, ridged or cells
    angle, stretch = 2 * np.pi * r[:, 1:2], 0.1 * np.exp(1.2 * r[:, 2:3])
    cos, sin = np.cos(angle), np.sin(angle)
    long, across = x * cos + y * sin, y * cos - x * sin
    where = texture_index(3 + long * stretch + r[:, 3:4], 3 + across * stretch * (1 + 3 * r[:, 4:5] ** 2) + r[:, 5:6])
    flat = textures().ravel()
    first = np.clip(0.5 + noise * (0.35 + 0.5 * r[:, 6:7]) * flat.take(where + kind), 0, 1)
    where = texture_index(3 + across * 0.2 + r[:, 7:8], 3 + long * 0.2 + r[:, 8:9])
    second = np.clip(noise * (1.2 * flat.take(where) + 0.35 * flat.take(where + 3 * TEXTURE_SIZE**2) - 0.1), 0, 1)
    stone = (1 - second) * first
    return {SOIL: 1 - second - stone, STONE: stone, MOSS: second}


def _occlude(image: np.ndarray, colour: np.ndarray, seeds: np.ndarray, xy: tuple, noise: np.float32) -> None:
    """Put a blade of grass, out of focus, before a third of the images (B, 3, P), in place."""
    rows, blade = _grass(seeds, xy, noise)
    image[rows] += blade * (colour[rows, :, None].astype(np.float32) - image[rows])


def _grass(seeds: np.ndarray, xy: tuple, noise: np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Return which images have a blade of grass before them, and its share of their pixels, (b, 1, P)."""
    r = hash_uniform(seeds, 4, 6)
    rows = np.flatnonzero(r[:, 5] < 0.35 * noise)
    angle, offset, bend, width = 2 * np.pi * r[rows, :1], r[rows, 1:2], r[rows, 2:3], r[rows, 3:4]
    across = xy[0] * np.cos(angle) + xy[1] * np.sin(angle)
    along = xy[1] * np.cos(angle) - xy[0] * np.sin(angle)
    distance = np.abs(across - 0.3 - 0.5 * offset - (0.5 * bend - 0.25) * along * along) - (0.05 + 0.08 * width)
    return rows, np.clip(0.5 - 9 * distance, 0, 1)[:, None]


def _develop(image: np.ndarray, seeds: np.ndarray, xy: tuple, noise: np.float32) -> np.ndarray:
    """Apply light gradient, exposure, colour cast, transfer function and sensor noise; return uint8 images."""
    r = hash_normal(seeds, 5, 8) * noise
    image *= (np.exp2(0.3 * r[:, 2:3]) * np.exp(0.1 * r[:, 3:6]))[:, :, None]
    image *= (1 + 0.16 * (r[:, :1] * xy[0] + r[:, 1:2] * xy[1]))[:, None]
    np.sqrt(np.maximum(image, 0, out=image), out=image)  # the display's transfer function, nearly
    side = round(np.sqrt(image.shape[2]))
    dust = hash_uniform(seeds, 6, 2)
    speck = texture_index(xy[0] * (side / 512) + (5 + dust[:, :1]), xy[1] * (side / 512) + (5 + dust[:, 1:]))
    image += (0.025 * noise) * textures()[3].take(speck)[:, None]
    image *= 255
    pixels = np.clip(image, 0, 255, out=image).astype(np.uint8)
    return pixels.reshape(-1, 3, side, side).transpose(0, 2, 3, 1)


# --- colours ------------------------------------------------------------------------------------------------------


def oklch_to_light(lightness: np.ndarray, chroma: np.ndarray, hue: np.ndarray) -> np.ndarray:
    """Return linear RGB, clipped to [0, 1], of OKLCH colours (Ottosson 2020); hue in degrees, last axis is RGB."""
    a, b = chroma * np.cos(np.radians(hue)), chroma * np.sin(np.radians(hue))
    l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3  # noqa: E741 - the paper's names
    m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    s = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s
    green = -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s
    blue = -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s
    return np.clip(np.stack([red, green, blue], -1), 0, 1)


def body_colours(plan: str, t: Traits) -> np.ndarray:
    """Return lightness, chroma and hue (degrees) of the seven body materials, (B, 7, 3).

    Leaves stay greenish and stems of fungi pale; the first hue is the animal's body, the flower, the cap, the shell.
    """
    hue = 60 + 115 * t.latent[:, :1]
    chroma, light = 0.03 + 0.15 * t["chroma"], 0.36 + 0.44 * t["lightness"]
    away = np.where(light > 0.58, -1.0, 1.0) * (0.2 + 0.2 * t["second_lightness"])
    hue2 = hue + 130 * (t["second_hue"] - 0.5)
    hue3 = hue + 90 + 180 * t["accent_hue"]
    vivid = 0.06 + 0.14 * t["accent_chroma"]
    main, second = (light, chroma, hue), (light + away, 0.8 * chroma, hue2)
    accent = (0.62 + 0.4 * away, vivid, hue3)
    dark, pale = (0.17 + 0 * light, 0.03 + 0 * light, hue), (0.95 + 0 * light, 0.025 + 0 * light, hue)
    limb, tip = (0.5 * light, 0.6 * chroma, hue + 20), (0.8 + 0 * light, 0.17 + 0 * light, hue3 + 60)
    if plan == "plant":
        green = 132 + 38 * (t["second_hue"] - 0.5) * 2
        accent, pale = (np.maximum(light, 0.5) + 0.12, chroma + 0.05, hue), (0.95 + 0 * light, 0.04 + 0 * light, hue2)
        main = (0.4 + 0.22 * t["second_lightness"], 0.07 + 0.06 * t["accent_chroma"], green)
        second, limb = (0.78 + 0 * light, 0.09 + 0 * light, green - 20), (0.4 + 0 * light, 0.07 + 0 * light, green - 15)
    if plan == "fungus":
        limb, accent = (0.84 - 0.2 * t["roughness"], 0.03 + 0.2 * vivid, hue2), (0.8 + 0.3 * away, 0.3 * vivid, hue3)
    if plan == "shell":
        limb = (0.75 + 0 * light, 0.6 * chroma, hue2)
    return np.concatenate([np.stack(lch, -1) for lch in (main, second, accent, dark, pale, limb, tip)], 1)


def _palette(plan: str, t: Traits, seeds: np.ndarray, noise: np.float32) -> np.ndarray:
    """Return the linear RGB of all materials, (B, 11, 3): the body's from its traits, the scene's at random."""
    body = body_colours(plan, t)
    r = hash_uniform(seeds, 8, 10)
    jitter = noise * (r[:, :4] - 0.5)
    light = 0.55 + 0.4 * jitter[:, :1] + np.array([[-0.09, 0.09, 0.0]], np.float32) * (1 + jitter[:, 1:2])
    chroma = 0.08 * r[:, 4:7] * np.minimum(1, noise)
    hue = 75 + noise * (110 * (r[:, 7:8] - 0.5) + 60 * (r[:, 7:10] - 0.5))
    scene = np.stack([light, chroma, hue], -1)  # (B, 3, 3)
    grass = np.stack([0.45 + 0.5 * jitter[:, 2], 0.02 + 0.1 * r[:, 9], 80 + 70 * r[:, 8]], -1)[:, None]
    lch = np.concatenate([body, scene, grass], 1)
    return oklch_to_light(*np.moveaxis(lch, -1, 0))
