"""Four body plans, drawn from traits as layers of implicit shapes: animal, plant, fungus and shell.

Takes a `Canvas` and `Traits` (one row an image) and puts the body's layers on the canvas from front to back.
"""

import numpy as np

from .canvas import ACCENT, DARK, LIGHT, LIMB, MAIN, SECOND, TIP, Canvas, Traits, blade, dome, ellipse, lines


def draw(plan: str, canvas: Canvas, traits: Traits) -> None:
    """Draw one body plan on the canvas."""
    {"animal": draw_animal, "plant": draw_plant, "fungus": draw_fungus, "shell": draw_shell}[plan](canvas, traits)
    canvas.finish(traits)


def extent(plan: str, t: Traits) -> tuple[np.ndarray | float, np.ndarray | float]:
    """Return the middle of the body on its axis and its half-extent, numbers or (B, 1), to fit it into the frame."""
    if plan == "shell":
        long = 1 + 0.3 * t.beyond("body_length", 0.5) + 0.1 * t.beyond("lobing", 0.25)
        return 0.0, (0.38 + 0.22 * t["wing_size"] + 0.3 * t["appendage_length"]) * long
    if plan != "animal":
        return {"plant": (-0.08, 0.9), "fungus": (-0.2, 0.8)}[plan]
    half_length = 0.46 + 0.26 * t["body_length"]
    tail = t.beyond("tail_length", 0.3)
    front = 0.52 * half_length + 0.15 + 0.25 * t.beyond("antenna_length", 0.35)
    rear = half_length + 0.3 * tail
    wing = (0.3 + 0.62 * t.beyond("wing_size", 0.3)) * np.cos(0.55 - 1.9 * t["wing_angle"])
    side = np.maximum(0.34 + 0.3 * t["appendage_length"], wing)
    return 0.5 * (front - rear), np.maximum(0.5 * (front + rear), side) + 0.05


# --- animal: bilateral, head up; |v| draws both sides at once -----------------------------------------------------


def draw_animal(c: Canvas, t: Traits) -> None:
    """Draw a bilateral animal from above: eyes, head and thorax, wings, abdomen, tail, antennae, legs."""
    half_length = 0.46 + 0.26 * t["body_length"]
    width = 0.10 + 0.19 * t["body_width"]
    w = np.abs(c.v)
    head_u = 0.52 * half_length + 0.05
    head_r = 0.075 + 0.09 * t["front_size"]
    _animal_eyes(c, t, w, head_u, head_r)
    _animal_front(c, t, w, (half_length, width, head_u, head_r))
    _animal_wings(c, t, w, half_length)
    _animal_abdomen(c, t, w, half_length, width)
    _animal_tail(c, t, w, half_length)
    _animal_antennae(c, t, w, head_u + 0.6 * head_r)
    _animal_legs(c, t, w, half_length, width)


def _animal_eyes(c: Canvas, t: Traits, w: np.ndarray, head_u: np.ndarray, head_r: np.ndarray) -> None:
    r = head_r * (0.22 + 0.42 * t["eye_size"])
    du, dw = c.u - head_u - 0.35 * head_r, w - 0.66 * head_r
    distance = np.sqrt(du * du + dw * dw)
    glint = c.cover(np.sqrt((du - 0.3 * r) ** 2 + (dw - 0.2 * r) ** 2) - 0.3 * r)
    c.put(
        c.cover(distance - r), DARK, dome(distance / r, r), mark=((glint, LIGHT), (c.cover(0.62 * r - distance), TIP))
    )


def _animal_front(c: Canvas, t: Traits, w: np.ndarray, size: tuple) -> None:
    half_length, width, head_u, head_r = size
    beak = t.beyond("tail_fork", 0.55) * 0.2
    along = (c.u - head_u - 0.7 * head_r) / (beak + 0.02)
    c.put(c.cover(np.maximum(w - 0.4 * head_r * (1 - along), -along * 0.1)), ACCENT, 0.04)
    head, head_radius = ellipse(c.u - head_u, w, head_r, head_r)
    c.put(c.cover(head), LIMB, dome(head_radius, head_r), skin=(c.u, w, SECOND))
    thorax, radius = ellipse(c.u - 0.14 * half_length, w, 0.36 * half_length + 0.04, width * 0.86)
    collar = lines((c.u - 0.3 * half_length) * 8, 3)
    c.put(c.cover(thorax), MAIN, dome(radius, width), ((0.6 * collar, DARK),), (c.u, w, SECOND))


def _animal_wings(c: Canvas, t: Traits, w: np.ndarray, half_length: np.ndarray) -> None:
    size = t.beyond("wing_size", 0.3)
    length = 0.3 + 0.62 * size
    angle = 0.55 - 1.9 * t["wing_angle"]
    shape = (0.07 + 0.2 * t["wing_width"], 0.1 + 0.6 * t["wing_skew"], 0.25)
    shoulder = c.u - 0.24 * half_length
    _wing(c, t, (shoulder, w), (length, angle, shape, size > 0))
    hind = t.beyond("hindwing_size", 0.35)
    shape = (shape[0] * (0.7 + 0.6 * hind), 0.1 + 0.5 * t["wing_skew"], 0.1)
    hind_angle = np.maximum(angle - 0.75, -1.45)
    _wing(c, t, (shoulder + 0.16, w), (length * (0.45 + 0.5 * hind), hind_angle, shape, (size > 0) & (hind > 0)))


def _wing(c: Canvas, t: Traits, at: tuple, form: tuple) -> None:
    shoulder, w = at
    length, angle, shape, present = form
    a = shoulder * np.sin(angle) + w * np.cos(angle)
    b = shoulder * np.cos(angle) - w * np.sin(angle)
    b += 0.9 * np.maximum(b, 0)  # the leading edge is the straighter one
    scallop = 0.03 * t.beyond("lobing", 0.4) * np.cos((9 + 14 * t["segment_count"]) * b / length)
    distance, along, half = blade(a + scallop, b, length, shape)
    veins = lines(7 * b / (half + 0.05), 4) * 0.55
    r = 0.11 * length * (0.4 + t.beyond("wing_eyespot", 0.45))
    eye = np.sqrt((a - 0.68 * length) ** 2 + (b + 0.35 * shape[0]) ** 2) - r
    spot = c.cover(eye) * t.has("wing_eyespot", 0.45)
    pupil = c.cover(eye + 0.5 * r)
    margin = np.clip((distance + 0.035) / 0.03, 0, 1) * t.has("rim", 0.4)
    mark = (
        (spot * pupil, DARK),
        (spot * np.clip(1 - 12 * np.abs(eye), 0, 1), LIGHT),
        (spot, TIP),
        (margin * 0.85, DARK),
        (veins, DARK),
    )
    c.put(c.cover(distance) * present, ACCENT, 0.03 + 0.04 * along - 0.02 * veins, mark, (a, b, SECOND))


def _animal_abdomen(c: Canvas, t: Traits, w: np.ndarray, half_length: np.ndarray, width: np.ndarray) -> None:
    rear = width * (0.55 + 0.75 * t["rear_size"])
    centre = c.u + 0.48 * half_length
    pinch = 1 + 0.35 * (centre / half_length) * (1 - 2 * t["wing_skew"])
    distance, radius = ellipse(centre, w / pinch, 0.55 * half_length + 0.02, rear)
    grooves = lines((3 + t.count("segment_count", 2, 9)) * centre / half_length * 2.2, 3) * 0.5
    c.put(c.cover(distance), MAIN, dome(radius, rear) - 0.02 * grooves, ((grooves, DARK),), (c.u, w, SECOND))


def _animal_tail(c: Canvas, t: Traits, w: np.ndarray, half_length: np.ndarray) -> None:
    size = t.beyond("tail_length", 0.3)
    length = 0.12 + 0.34 * size
    a = -c.u - 0.88 * half_length
    along = a / length
    half = 0.03 + (0.05 + 0.28 * t["rear_size"]) * size * along
    end = 1 - (t["tail_fork"] - 0.35) * 0.9 * (1 - w / (half + 0.02))
    distance = np.maximum(np.maximum(w - half, (along - end) * length), -a)
    rays = lines(12 * w / (np.maximum(along, 0) + 0.25), 2) * 0.4
    c.put(c.cover(distance) * (size > 0), ACCENT, 0.03 - 0.02 * rays, ((rays, DARK),), (a, w, SECOND))


def _animal_antennae(c: Canvas, t: Traits, w: np.ndarray, base: np.ndarray) -> None:
    size = t.beyond("antenna_length", 0.35)
    length = 0.1 + 0.4 * size
    a = c.u - base
    along = np.clip(a / length, 0, 1)
    centre = 0.03 + length * along * (0.25 + (1.2 * t["appendage_curl"] - 0.2) * along)
    distance = np.abs(w - centre) - 0.011 + np.abs(a - along * length)
    tip_w = 0.03 + length * (0.05 + 1.2 * t["appendage_curl"])
    club = np.sqrt((a - length) ** 2 + (w - tip_w) ** 2) - 0.055 * t.beyond("lobing", 0.4) - 0.012
    c.put(c.cover(np.minimum(distance, club)) * (size > 0), LIMB, 0.02, ((c.cover(club), TIP),))


def _animal_legs(c: Canvas, t: Traits, w: np.ndarray, half_length: np.ndarray, width: np.ndarray) -> None:
    present = t.has("appendage_length", 0.18)
    n = t.count("appendage_count", 1, 8)
    reach = width + 0.1 + 0.34 * t["appendage_length"]
    fan = 1 + (0.4 + 2.2 * t["appendage_angle"]) * w * np.minimum(1, 3 / n)
    knee = (0.9 * t["appendage_curl"] - 0.2) * np.abs(w - 0.6 * reach)
    axis = (c.u + knee + (0.1 - 0.2 * t["appendage_angle"]) * half_length) / fan
    spacing = (0.5 + 0.06 * n) * half_length / n
    first = -0.5 * (n - 1)
    cell = np.clip(np.round(axis / spacing - first), 0, n - 1) + first
    thick = (0.014 + 0.03 * t["appendage_width"]) * (1.25 - 0.8 * w / reach)
    distance = np.abs(axis - cell * spacing) * fan * 0.8 - thick
    distance = np.maximum(distance, w - reach)
    c.put(c.cover(distance) * present, LIMB, 0.03, ((np.clip(8 * (w / reach - 0.8), 0, 1), TIP),))


# --- plant: a stem with paired leaves and a flower ----------------------------------------------------------------


def draw_plant(c: Canvas, t: Traits) -> None:
    """Draw a sprig: flower on top, stem, leaves in opposite or alternate pairs."""
    flower_u = 0.34 + 0.12 * t["body_length"]
    _flower(c, t, flower_u)
    stem = np.abs(c.v) - (0.016 + 0.022 * t["body_width"]) * (1.2 - 0.4 * c.u)
    distance = np.maximum(np.maximum(stem, c.u - flower_u), -0.95 - c.u)
    c.put(c.cover(distance), LIMB, 0.05)
    _leaves(c, t, flower_u)


def _flower(c: Canvas, t: Traits, flower_u: np.ndarray) -> None:
    du = c.u - flower_u
    r = np.sqrt(du * du + c.v * c.v) + 1e-4
    theta = np.arctan2(c.v, du)
    size = 0.2 + 0.34 * t["wing_size"]
    disc = size * (0.12 + 0.3 * t["eye_size"])
    seeds = np.clip(0.6 + 2 * np.cos(55 * du) * np.cos(55 * c.v), 0, 1)
    mark = ((seeds * 0.55, DARK), (np.clip(1.2 - 1.6 * r / disc, 0, 1), LIGHT))
    c.put(c.cover(r - disc), TIP, dome(r / disc, disc * 0.7) + 0.02 * seeds, mark)
    n = t.count("appendage_count", 3, 10)
    _whorl(c, t, (r, theta), (size, n, 0.0))
    back = t.beyond("hindwing_size", 0.4)
    _whorl(c, t, (r, theta), (np.maximum(0.01, size * (0.8 + 0.5 * back) * (back > 0)), n, 1.0))


def _whorl(c: Canvas, t: Traits, polar: tuple, form: tuple) -> None:
    r, theta = polar
    size, n, turned = form
    sector = 2 * np.pi / n
    phi = theta / sector + 0.5 * turned
    phi = (phi - np.round(phi)) * sector
    a, b = r * np.cos(phi), r * np.sin(phi)
    width = size * np.minimum(0.95 * np.sin(0.5 * sector), 0.16 + 0.34 * t["wing_width"])
    distance, along, half = blade(a, b, size, (width, 0.1 + 0.5 * t["wing_skew"], 0.7 * t["tail_length"]))
    notch = (t["tail_fork"] - 0.5) * 0.25 * size
    distance = np.maximum(distance, a - size + notch * (1 - 3 * np.abs(b) / size))
    nectar = np.clip(1.6 - 3.2 * along, 0, 1) * (0.3 + 0.7 * t["rim"])
    veins = lines(4 * b / (half + 0.02), 3) * 0.3
    mark = ((veins, DARK), (nectar * 0.8, TIP))
    c.put(c.cover(distance), ACCENT, 0.03 + 0.1 * along - 0.15 * np.abs(b) - 0.04 * turned, mark, (a, b * 1.5, LIGHT))


def _leaves(c: Canvas, t: Traits, flower_u: np.ndarray) -> None:
    w = np.abs(c.v)
    alternate = t.has("antenna_length", 0.5)
    side = np.sign(c.v) * (0.25 * alternate)
    n = t.count("segment_count", 1, 6)
    angle = 0.15 + 0.85 * t["appendage_angle"]
    low, high = -0.8, flower_u - 0.28
    spacing = (high - low) / n
    curl = (1.1 * t["appendage_curl"] - 0.4) * w * w
    axis = (c.u - np.tan(angle) * w - curl - low) / spacing - side
    cell = np.clip(np.floor(axis), 0, n - 1)
    for step in (0.0, 1.0):
        index = np.clip(cell + step, 0, n - 1)
        _leaf(c, t, (w, (axis - index) * spacing), (angle, 1 - (0.75 * t["body_width"] - 0.2) * index / n))


def _leaf(c: Canvas, t: Traits, at: tuple, form: tuple) -> None:
    w, offset = at
    angle, shrink = form
    length = (0.3 + 0.42 * t["appendage_length"]) * shrink
    a, b = w / np.cos(angle), offset * np.cos(angle)
    teeth = t.beyond("lobing", 0.3)
    edge = 1 - 0.5 * teeth * np.abs(np.sin(a * (9 + 30 * t["roughness"])))
    width = (0.05 + 0.15 * t["appendage_width"]) * shrink
    distance, _, _ = blade(a, b / edge, length, (width, 0.5 * t["rear_size"] - 0.35, 0.2 + 0.7 * t["front_size"]))
    midrib = np.clip(1 - np.abs(b) / 0.014, 0, 1)
    veins = lines((a - 0.8 * np.abs(b)) * 26, 3)
    mark = ((0.65 * midrib, LIGHT), (0.28 * veins, LIGHT))
    relief = 0.05 + 0.3 * np.abs(b) - 0.02 * veins
    c.put(c.cover(distance * np.minimum(edge, 1)), MAIN, relief, mark, (a, b, SECOND))


# --- fungus: cap on a stem, seen a little from below; a smaller one behind ----------------------------------------


def draw_fungus(c: Canvas, t: Traits) -> None:
    """Draw a mushroom with gills and ring, and where the trait says so a smaller one beside it."""
    _mushroom(c, t, (c.u, c.v, np.float32(1.0), np.ones_like(c.px)))
    side = 2 * t.has("antenna_length", 0.5) - 1
    scale = 0.4 + 0.25 * t["tail_length"]
    lean = c.v - 0.5 * side + 0.25 * side * c.u
    _mushroom(c, t, ((c.u + 0.85) / scale - 0.85, lean / scale, scale, t.has("tail_length", 0.4)))


def _mushroom(c: Canvas, t: Traits, at: tuple) -> None:
    u, v, scale, present = at
    cap_u = -0.1 + 0.4 * t["body_length"]
    radius = 0.28 + 0.36 * t["wing_size"]
    height = 0.16 + 0.42 * t["front_size"]
    w = np.abs(v)
    dome_w, dome_u = w / radius, (u - cap_u) / height
    conic = 1.2 + 2.2 * t["wing_skew"]
    rise = np.maximum(dome_u, 0)
    umbo = np.maximum(0, 1 - (5 - 2 * t["tail_fork"]) * dome_w) * 0.5 * t.beyond("tail_fork", 0.4)
    level = np.power(rise / (1 + umbo), conic) + dome_w * dome_w
    frill = 0.05 * t.beyond("lobing", 0.4) * np.cos(v * (16 + 16 * t["segment_count"]))
    distance = np.maximum((np.sqrt(level) - 1) * np.minimum(radius, height), cap_u - u - frill * 0.5)
    bulge = np.sqrt(np.maximum(0.02, 1 - np.minimum(level, 1)))
    rim = np.clip((dome_w - 0.75) * 3, 0, 1) * t.has("rim", 0.5) * 0.8
    skin = (0.9 * rise, 0.8 * v / (0.35 + 0.65 * bulge), SECOND)
    c.put(c.cover(distance * scale) * present, MAIN, bulge * 0.35 * scale, ((rim, ACCENT),), skin)
    _stem(c, t, (u, w, scale, present), (cap_u, radius))


def _stem(c: Canvas, t: Traits, at: tuple, cap: tuple) -> None:
    u, w, scale, present = at
    cap_u, radius = cap
    stem_w = (0.04 + 0.12 * t["body_width"]) * (1 + 0.9 * t.beyond("rear_size", 0.3) * np.maximum(0, -u - 0.35) * 2)
    ring_u = u - cap_u + 0.22 + 0.12 * t["appendage_angle"]
    ring = np.maximum(np.abs(ring_u + 0.3 * w) - 0.03, w - stem_w - 0.07)
    c.put(c.cover(ring * scale) * present * t.has("eye_size", 0.5), LIGHT, 0.2 * scale)
    depth = (0.05 + 0.16 * t["wing_width"]) * 1.3
    under, k = ellipse(u - cap_u, w, depth, radius * 0.97)
    slant = w / (0.25 + np.maximum(0, cap_u + 0.5 - u) * 0.8)
    gills = lines(slant * (10 + 14 * t["appendage_count"]), 1.6)
    distance = np.maximum(np.maximum(w - stem_w, u - cap_u + depth * 0.55), -0.92 - u - 0.2 * w)
    fibres = lines(w * 60, 1.5) * 0.25
    c.put(c.cover(distance * scale) * present, LIMB, dome(w / stem_w, stem_w * scale), ((fibres, DARK),))
    c.put(c.cover(under * scale) * present, ACCENT, -0.1 * k * scale, ((0.6 * gills, DARK),))


# --- shell: radial, translucent, with ribs, pores and spines ------------------------------------------------------


def draw_shell(c: Canvas, t: Traits) -> None:
    """Draw a radial shell: nucleus, ribbed and pored valve, spines around it."""
    aspect = 1 + 1.1 * t.beyond("body_length", 0.5)
    u, v = c.u / np.sqrt(aspect), c.v * np.sqrt(aspect)
    r = np.sqrt(u * u + v * v) + 1e-4
    theta = np.arctan2(v, u) + (1.6 * t["appendage_curl"] - 0.8) * r
    n = t.count("appendage_count", 3, 12)
    wave = np.cos(n * theta)
    lobe = 0.3 * t.beyond("lobing", 0.25)
    base = 0.34 + 0.24 * t["wing_size"]
    size = base * (1 + lobe * wave)
    x = r / size
    core = 0.1 + 0.28 * t["eye_size"]
    star = core * (1 + 0.35 * (2 * t["tail_fork"] - 0.6) * wave)
    nucleus = np.clip(1.3 - x / star, 0, 1)
    c.put(c.cover((x - star) * size), TIP, 0.15 * nucleus, ((nucleus * 0.7, LIGHT),))
    ribs = lines(0.5 * n * t.count("appendage_width", 1, 3) * theta, 2.2) * np.clip(3 * (x - star), 0, 1)
    rings = lines(x * (3 + t.count("segment_count", 2, 8)), 2.2)
    rim = np.clip(1 - np.abs(x - 0.94) / 0.07, 0, 1)
    mark = ((rim * 0.9, ACCENT), (0.65 * ribs, LIGHT), (0.5 * rings, DARK))
    relief = dome(x, 0.3) + 0.03 * ribs - 0.02 * rings + 0.04 * rim
    solid = 0.8 + 0.2 * t["rim"]
    c.put(c.cover((x - 1) * size) * solid, MAIN, relief, mark, (x, theta * 0.5, SECOND))
    _spines(c, t, (r, theta, base * (1 + lobe)), n)


def _spines(c: Canvas, t: Traits, polar: tuple, n: np.ndarray) -> None:
    r, theta, size = polar  # the size at the tips of the lobes: spines stand on a circle
    length = 0.06 + 0.4 * t["appendage_length"]
    out = np.clip((r - size) / length, 0, 1)
    count = n * np.where(n < 7, t.count("hindwing_size", 1, 3), np.float32(1))
    sway = theta + 0.9 * length * (t["wing_angle"] - 0.5) * np.sin(9 * out)
    phi = np.abs(sway * count / (2 * np.pi) - np.round(sway * count / (2 * np.pi))) * 2 * np.pi / count
    thick = (0.022 + 0.05 * t["wing_width"]) * (1.05 - out)
    distance = np.maximum(phi * r - thick, r - size - length)
    present = t.has("appendage_length", 0.2)
    c.put(c.cover(distance) * present, LIMB, 0.03, ((np.clip(4 * out - 2.6, 0, 1), TIP),))
