"""Scores of a run on a catalog of two sets, by hand: who is asked what, chance, ranks, pairing, what is left out."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bioclip_lib import RANKS, TEXT_TYPES
from bioclip_lib.config import EvaluateConfig
from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import metrics, mistakes, tasks, zero_shot
from bioclip_lib.evaluation.marks import beside_chance, word_kinds
from bioclip_lib.evaluation.statistics import chance_bound
from bioclip_lib.evaluation.tasks import class_strings
from bioclip_lib.evaluation.zero_shot import ClassEncoder
from bioclip_lib.figures import scores as score_figures
from bioclip_lib.model.features import FeatureTable
from bioclip_lib.structure import hierarchy

CONFIG = EvaluateConfig(shots=(1, 2), n_folds=3, n_permutations=199)
FELIDS = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae")
SPECIES = {
    "Panthera leo": (*FELIDS, "Panthera", "leo"),
    "Panthera onca": (*FELIDS, "Panthera", "onca"),
    "Puma concolor": (*FELIDS, "Puma", "concolor"),
    "Parus major": ("Animalia", "Chordata", "Aves", "Passeriformes", "Paridae", "Parus", "major"),
    "Acer rubrum": ("Plantae", "Tracheophyta", "Magnoliopsida", "Sapindales", "Sapindaceae", "Acer", "rubrum"),
}
SPLITS = {"Parus major": "heldout_species", "Acer rubrum": "heldout_species"}


def catalog_of(sizes, source="zoo", rank="species"):
    """A catalog in which every species has `sizes[name]` evaluated images, and three that were trained on."""
    rows = []
    for name, n in sizes.items():
        for i in range(n + 3):
            split = SPLITS.get(name, "test") if i < n else "train"
            row = {"image_id": f"{source}/{name}/{i}", "source": source, "split": split, "excluded": ""}
            row["source_id"] = f"{name}/{i}.jpg"
            names = {
                "scientific_name": name,
                "common_name": f"the {name}",
                "verbatim_name": name,
                "rank": rank,
                "class_key": name,
            }
            rows.append({**row, **names, **dict(zip(RANKS, SPECIES[name], strict=True)), "class_key": name})
    return pd.DataFrame(rows)


def features_of(table, directions):
    """Features in a given direction for each species: what a model with that notion of species would give."""
    images = tasks.evaluated_images(table)
    return FeatureTable(list(images.index), np.stack([directions[name] for name in images["class_key"]]))


def one_hot(names, order=None):
    return dict(zip(names, np.eye(len(names), dtype=np.float32)[order or range(len(names))], strict=True))


def encoder_of(directions, table):
    """A text tower that knows each class string's species."""
    classes = zero_shot.classes_of(table)
    strings = [class_strings(classes, text_type) for text_type in (*TEXT_TYPES, "asis")]
    known = {text: directions[name] for series in strings for name, text in series.items()}
    return ClassEncoder(lambda names, templates: np.stack([known[name] for name in names]), logit_scale=100.0)


@pytest.fixture
def zoo():
    return catalog_of(dict.fromkeys(SPECIES, 4))


def test_seen_are_test_images_and_unseen_are_held_out_species(zoo):
    images = tasks.evaluated_images(zoo)
    assert images["part"].value_counts().to_dict() == {"seen": 12, "unseen": 8}
    assert set(images.loc[images["part"] == "unseen", "class_key"]) == set(SPLITS)
    hidden = zoo.assign(excluded=np.where(zoo["split"] == "test", "unreadable", ""))
    assert set(tasks.evaluated_images(hidden)["part"]) == {"unseen"}


def test_a_perfect_model_and_one_that_mixes_up_two_species(zoo):
    right = one_hot(SPECIES)
    mixed = one_hot(SPECIES, [1, 0, 2, 3, 4])  # takes lions for jaguars and jaguars for lions
    tables = {"right": features_of(zoo, right), "mixed": features_of(zoo, mixed)}
    encoders = dict.fromkeys(tables, encoder_of(right, zoo))
    scores, predictions = zero_shot.score_zero_shot(zoo, tables, encoders, CONFIG)
    top1 = scores[scores["metric"] == "top1"].set_index(["model", "task"])
    assert len(top1) == 2 * 2 * len(TEXT_TYPES)
    assert (top1.loc["right", "value"] == 1).all()
    assert top1.loc[("mixed", "zero_shot/seen"), ["value", "chance", "n"]].tolist() == pytest.approx([1 / 3, 1 / 3, 12])
    assert top1.loc[("mixed", "zero_shot/unseen"), ["value", "chance", "n"]].tolist() == [1, 0.5, 8]
    top5 = scores[(scores["metric"] == "top5") & (scores["task"] == "zero_shot/seen")]
    assert (top5["chance"] == 1).all() and (top5["value"] == 1).all()

    by_rank = mistakes.rank_accuracy(predictions, zoo).set_index(["model", "part", "rank"])
    assert by_rank.loc[("mixed", "seen", "genus"), ["value", "n"]].tolist() == [1, 12]
    # of three candidates a random one has the genus of a lion or a jaguar in 2 of 3 cases, that of a puma in 1 of 3
    assert by_rank.loc[("mixed", "seen", "genus"), "chance"] == pytest.approx(5 / 9)
    assert by_rank.loc[("mixed", "seen", "species"), ["value", "chance"]].tolist() == pytest.approx([1 / 3, 1 / 3])

    # all have the right family, in which genus and species are asked; then lions and jaguars, 4 images each, have the
    # right genus, in which one of two species is right by chance, and pumas theirs, in which there is one
    given = by_rank.loc[("mixed", "seen")]
    assert given.loc["genus", ["given", "given_chance", "given_n"]].tolist() == pytest.approx([1, 5 / 9, 12])
    assert given.loc["species", ["given", "given_chance", "given_n"]].tolist() == pytest.approx([1 / 3, 2 / 3, 12])
    assert given.loc["kingdom", ["given", "given_n"]].tolist() == given.loc["kingdom", ["value", "n"]].tolist()

    distances = mistakes.mistake_distances(predictions, zoo).set_index(["model", "part", "distance"])
    assert distances.loc[("mixed", "seen", 1), ["share", "n"]].tolist() == [1, 8]
    assert distances.loc[("mixed", "seen", 1), "chance"] == distances.loc[("mixed", "seen", 2), "chance"] == 0.5
    assert distances.loc[("right", "seen", 1), "n"] == 0


def test_kinds_of_words_by_hand(zoo):
    """Two trained cats and a maple give an unseen cat's and maple's names a word of a genus, of a kingdom, of none."""
    rows = []
    for name, common, split in [
        ("Panthera leo", "grey big cat", "train"),
        ("Panthera onca", "spotted big cat", "train"),
        ("Acer rubrum", "spotted maple", "train"),
        ("Puma concolor", "spotted mountain cat", "heldout_species"),
    ]:
        ranks = dict(zip(RANKS, SPECIES[name], strict=True)) if name in SPECIES else {}
        rows.append({**zoo.iloc[0], **ranks, "scientific_name": name, "common_name": common, "split": split,
                     "class_key": name, "image_id": name, "excluded": "", "rank": "species"})  # fmt: skip
    found = word_kinds(pd.DataFrame(rows), CONFIG).set_index("text_type")
    com = found.loc["com"]
    assert com["words"] == 3 and com[["unknown", "of one species"]].tolist() == pytest.approx([1 / 3, 0])
    assert com[["of a taxon", "of no taxon"]].tolist() == pytest.approx([1 / 3, 1 / 3])  # cat; spotted
    kinds = ["unknown", "of one species", "of a taxon", "of no taxon"]
    assert found[kinds].sum(axis=1).tolist() == pytest.approx([1] * len(found)) and len(found) == len(TEXT_TYPES)


def test_distance_and_calibration_of_mistakes_by_hand(zoo):
    """Lions are taken for jaguars and back: distance 1; a random wrong one of three is at 1 or 2."""
    mixed = features_of(zoo, one_hot(SPECIES, [1, 0, 2, 3, 4]))
    scores, predictions = zero_shot.score_zero_shot(zoo, {"m": mixed}, {"m": encoder_of(one_hot(SPECIES), zoo)}, CONFIG)
    far = mistakes.mean_distances(predictions, zoo)
    assert far[["task", "value", "chance", "n"]].to_numpy().tolist() == [["zero_shot/seen", 1.0, 1.5, 8]]
    over = scores[scores["metric"] == "overconfidence"].set_index("task")
    assert set(over.index) == {"zero_shot/seen", "zero_shot/unseen"}
    # sure of everything and right in 4 of 12: three equal classes differ by 1, 1 and 0
    reach = stats.t.ppf(0.975, 2) * np.sqrt(2 / 3 * ((np.array([0.5, 0.5, 1]) - 2 / 3) ** 2).sum())
    ends = [2 / 3, max(-1, 2 / 3 - reach), min(1, 2 / 3 + reach)]
    assert over.loc["zero_shot/seen", ["value", "ci_low", "ci_high"]].tolist() == pytest.approx(ends, abs=1e-6)
    assert over.loc["zero_shot/unseen", "value"] == pytest.approx(0, abs=1e-6)
    told = zero_shot.calibration(predictions).set_index("part")
    assert told.loc["seen", ["accuracy", "confidence", "ece"]].tolist() == pytest.approx([1 / 3, 1, 2 / 3], abs=0.01)
    assert told.loc["seen", ["ci_low", "ci_high"]].tolist() == pytest.approx(ends[1:], abs=1e-6)
    top3 = scores[(scores["metric"] == "top3") & (scores["task"] == "zero_shot/seen")].iloc[0]
    assert (top3["value"], top3["chance"]) == (1, 1)


def test_classes_without_a_name_are_counted_apart_and_those_with_anothers_are_candidates(zoo):
    """By common name: the lion has none and is not asked; jaguar and puma share one, half of their images are right."""
    cat = {"Panthera leo": "", "Panthera onca": "cat", "Puma concolor": "cat"}
    zoo = zoo.assign(common_name=zoo["scientific_name"].map(cat).fillna(zoo["common_name"]))
    reports = zero_shot.string_reports(zoo, CONFIG).set_index(["part", "text_type"])
    assert reports.loc[("seen", "com"), ["n_classes", "n_strings", "unnamed", "shared"]].tolist() == [3, 1, 1, "cat"]
    assert reports.loc[("seen", "sci"), ["n_classes", "n_strings", "unnamed", "shared"]].tolist() == [3, 3, 0, ""]
    right = one_hot(SPECIES)
    encoder = encoder_of(right, zoo)
    onca = ClassEncoder(lambda names, _: encoder.weights(["Panthera onca" if n == "cat" else n for n in names], _), 1.0)
    scores, _ = zero_shot.score_zero_shot(zoo, {"m": features_of(zoo, right)}, {"m": onca}, CONFIG)
    top1 = scores[scores["metric"] == "top1"].set_index("task")
    assert top1.loc["zero_shot/seen/com", ["value", "chance", "n"]].tolist() == pytest.approx([1 / 2, 1 / 2, 8])
    assert reports.loc[("seen", "com"), "ceiling"] == pytest.approx(1 / 2)
    assert top1.loc["zero_shot/seen", ["value", "n"]].tolist() == [1, 12]
    asked = (zoo, {"m": features_of(zoo, right)}, {"m": onca}, replace(CONFIG, text_type="com"))
    assert "Panthera leo" not in set(zero_shot.score_zero_shot(*asked)[1]["class_key"])


def test_chance_and_ceiling_where_names_are_shared_or_missing():
    """Of "cat" the first class wins all images; who guesses draws one of two strings."""
    candidates = pd.Series({"a": "cat", "b": "cat", "c": "dog", "d": ""})
    assert zero_shot.reachable(candidates).tolist() == [True, False, True, False]
    weights = pd.DataFrame([[1.0, 0], [1, 0], [0, 1]], index=list("abc"))
    labels = np.array(list("aaabcd"))
    features = np.array([[1.0, 0]] * 4 + [[0, 1]] * 2)
    rows, picked = zero_shot.score_candidates({}, features, labels, candidates, weights, None)
    found = pd.DataFrame(rows).set_index("metric")
    assert "".join(picked["predicted"]) == "aaaacc" and found.loc["top1", "value"] == pytest.approx(4 / 6)
    assert found.loc["top1", "chance"] == pytest.approx(4 / 6 / 2)  # four images of six can be right
    assert found.loc["macro_top1", ["value", "chance"]].tolist() == pytest.approx([2 / 4, 2 / 4 / 2])
    assert found.loc["top3", ["value", "chance"]].tolist() == pytest.approx([5 / 6, 5 / 6])  # d has no name


def test_the_second_choice_and_its_confidence_by_hand():
    weights = pd.DataFrame([[-1.0, 0], [0, 1], [1, 0]], index=list("abc"))
    features, labels = np.array([[0.8, 0.6]] * 2), np.array(["c", "b"])
    _, picked = zero_shot.score_candidates(
        {}, features, labels, pd.Series({"a": "x", "b": "y", "c": "z"}), weights, 2.0
    )
    shares = np.exp([-1.6, 1.2, 1.6]) / np.exp([-1.6, 1.2, 1.6]).sum()
    assert picked["predicted"][0] == "c" and picked["second"][0] == "b"
    assert [picked[name][0] for name in ("confidence", "second_confidence")] == pytest.approx([shares[2], shares[1]])


def test_a_text_type_that_names_nobody_has_no_scores_and_asked_for_it_is_one_clear_error(zoo):
    zoo, right = zoo.assign(common_name=""), one_hot(SPECIES)
    asked = (zoo, {"m": features_of(zoo, right)}, {"m": encoder_of(right, zoo)})
    scores, _ = zero_shot.score_zero_shot(*asked, CONFIG)
    assert "zero_shot/seen/sci" in set(scores["task"]) and "zero_shot/seen/com" not in set(scores["task"])
    with pytest.raises(InputError, match=r"name for evaluate\.text_type=com; .* choose another evaluate\.text_type"):
        zero_shot.score_zero_shot(*asked, replace(CONFIG, text_type="com"))


def test_only_classes_that_are_candidates_are_encoded(zoo):
    """A catalog of 450,000 taxa may have few thousands with images to test on."""
    trained_on = zoo["scientific_name"].eq("Puma concolor") & zoo["split"].eq("test")
    table, asked = zoo.assign(split=zoo["split"].mask(trained_on, "train")), set()
    encoder = encoder_of(one_hot(SPECIES), zoo)
    spy = ClassEncoder(lambda names, templates: asked.update(names) or encoder.weights(names, templates), 1.0)
    zero_shot.score_zero_shot(table, {"m": features_of(table, one_hot(SPECIES))}, {"m": spy}, CONFIG)
    assert "Panthera leo" in asked and "Puma concolor" not in asked


def test_templates_and_the_labels_as_they_are_reach_the_text_tower(zoo):
    asked = []
    encoder = encoder_of(one_hot(SPECIES), zoo)
    spy = ClassEncoder(lambda names, templates: asked.append((names[0], templates)) or encoder.weights(names, ()), 1.0)
    config = replace(CONFIG, text_type="asis", templates="none")
    scores, _ = zero_shot.score_zero_shot(zoo, {"m": features_of(zoo, one_hot(SPECIES))}, {"m": spy}, config)
    assert {templates for _, templates in asked} == {("{}",)}
    assert "zero_shot/seen/taxon_com" in set(scores["task"]) and "zero_shot/seen/asis" not in set(scores["task"])
    taxon = "Plantae Tracheophyta Magnoliopsida Sapindales Sapindaceae Acer rubrum"
    assert [name for name, _ in asked] == [
        *("the Acer rubrum", "Acer rubrum", taxon),
        *("Acer rubrum with common name the Acer rubrum", f"{taxon} with common name the Acer rubrum", "Acer rubrum"),
    ]


def test_an_epithet_that_occurs_twice_is_not_the_same_species():
    twin = {"Parus major": (*SPECIES["Parus major"][:5], "Parus", "major")}
    other = {"Plantago major": ("Plantae", "Tracheophyta", "Magnoliopsida", "Lamiales", "P", "Plantago", "major")}
    table = catalog_of({"Parus major": 2, "Acer rubrum": 2})
    table.loc[table["genus"] == "Acer", list(RANKS)] = other["Plantago major"]
    table.loc[table["genus"] == "Parus", list(RANKS)] = twin["Parus major"]
    images = tasks.evaluated_images(table).reset_index()
    a, b = sorted(images["class_key"].unique())
    swapped = images["class_key"].map({a: b, b: a})
    keys = {"model": "m", "dataset": "zoo", "part": "unseen"}
    predictions = images[["image_id", "class_key"]].assign(predicted=swapped, **keys)
    assert (mistakes.rank_accuracy(predictions, table)["value"] == 0).all()


def test_morphotypes_have_no_tree_distance_and_classes_without_ranks_no_rank():
    table = catalog_of({"Panthera leo": 2, "Puma concolor": 2}, rank="").assign(**dict.fromkeys(RANKS, ""))
    images = tasks.evaluated_images(table).reset_index()
    keys = {"model": "m", "dataset": "zoo", "part": "seen", "predicted": "Puma concolor"}
    predictions = images[["image_id", "class_key"]].assign(**keys)
    distances = mistakes.mistake_distances(predictions, table)
    assert distances.empty and {"model", "dataset", "distance"} <= set(distances)
    ranks = mistakes.rank_accuracy(predictions, table)
    assert ranks.empty and {"model", "rank"} <= set(ranks)
    assert score_figures.plot_mistakes(distances) and score_figures.plot_rank_accuracy(ranks)


def test_ranks_of_many_classes_need_no_table_of_all_pairs(monkeypatch):
    names = [f"s{i}" for i in range(1_000)]
    ranks = {rank: [f"{rank}{i % 2**depth}" for i in range(len(names))] for depth, rank in enumerate(RANKS)}
    names_of = dict.fromkeys(["image_id", "species", "verbatim_name", "scientific_name"], names)
    table = pd.DataFrame({**ranks, **names_of}).assign(source="x", split="test", rank="species")
    table = table.assign(excluded="", taxon_id="", common_name="", class_key=names)
    classes = tasks.evaluated_images(table)["class_key"].to_numpy()
    predictions = pd.DataFrame({"class_key": classes, "predicted": np.roll(classes, 1)})
    predictions = predictions.assign(model="m", dataset="x", part="seen")
    tracemalloc.start()
    found = mistakes.rank_accuracy(predictions, table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20  # all pairs at once took 196 MiB, and grew with the square of the classes
    shares = [table[rank].value_counts(normalize=True) for rank in RANKS]  # each rank here says those above it
    assert found["chance"].tolist() == pytest.approx([(share**2).sum() for share in shares])
    monkeypatch.setattr(mistakes, "_PAIRS", len(names) * 7)
    pd.testing.assert_frame_equal(found, mistakes.rank_accuracy(predictions, table))


def test_sets_are_scored_apart():
    table = pd.concat([catalog_of({"Panthera leo": 4, "Puma concolor": 4}, s) for s in ("zoo", "park")])
    directions = one_hot(["Panthera leo", "Puma concolor"])
    features = {"m": features_of(table, directions)}
    scores, _ = zero_shot.score_zero_shot(table, features, {"m": encoder_of(directions, table)}, CONFIG)
    assert scores.groupby("dataset")["n"].max().to_dict() == {"park": 8, "zoo": 8}


def test_images_without_features_are_named(zoo):
    whole = features_of(zoo, one_hot(SPECIES))
    short = FeatureTable(whole.image_ids[1:], whole.values[1:])
    with pytest.raises(InputError, match=r"1 evaluated images have no features .*Panthera leo/0"):
        zero_shot.score_zero_shot(zoo, {"m": short}, {"m": encoder_of(one_hot(SPECIES), zoo)}, CONFIG)
    twice = FeatureTable([*whole.image_ids, whole.image_ids[0]], np.concatenate([whole.values, whole.values[:1]]))
    with pytest.raises(InputError, match=r"Panthera leo/0 has two rows of features"):
        zero_shot.score_zero_shot(zoo, {"m": twice}, {"m": encoder_of(one_hot(SPECIES), zoo)}, CONFIG)


def test_marks_beside_chance_by_hand(zoo):
    """Unseen are a bird, which looks like the puma, and a plant, which looks like the lion."""
    table = catalog_of(dict.fromkeys(SPECIES, 3))
    seen_like = one_hot(SPECIES)
    looks = {**seen_like, "Parus major": seen_like["Puma concolor"], "Acer rubrum": seen_like["Panthera leo"]}
    encoders = {"m": encoder_of(seen_like, table)}
    marks = beside_chance(table, {"m": features_of(table, looks)}, encoders, CONFIG)
    value = marks.set_index("what")["value"]
    assert value["a random candidate"] == 0.5 and value["who knows the kingdom"] == 1
    assert value["without text"] == 0.5  # next to both cats in the tree is the bird
    assert value["all names, unseen species"] == 0 and value["all names, seen species"] == 1
    assert value["all names, harmonic mean"] == 0 and value["all names, unseen called seen"] == 1
    known = beside_chance(table, {"m": features_of(table, seen_like)}, encoders, CONFIG).set_index("what")
    assert known.loc[["all names, unseen species", "all names, harmonic mean"], "value"].tolist() == [1, 1]
    assert known.loc["all names, unseen called seen", "value"] == 0 and known.loc["without text", "n"] == 6
    assert beside_chance(catalog_of({"Panthera leo": 3, "Parus major": 3}), {}, {}, CONFIG).empty


def test_what_cannot_be_asked_is_said(zoo):
    told = tasks.unasked(zoo, CONFIG).set_index("question")["why"]
    assert told.to_dict() == {
        "the hierarchy of seen species": "3 of 4 species have images for tests",
        "the hierarchy of unseen species": "2 of 4 species have images for tests",
    }
    trained = zoo.assign(split="train")
    assert tasks.unasked(trained, CONFIG)["why"].tolist() == ["no image is kept for tests, of species seen or held out"]
    few = tasks.unasked(catalog_of({"Panthera leo": 2, "Parus major": 1}), CONFIG).set_index("question")["why"]
    assert few["few-shot"] == "0 of two classes have more than 2 images for tests, a group counting once"
    assert few["naming seen species"] == few["naming unseen species"] == "1 of two classes have images for tests"


def test_where_there_is_nothing_to_choose_from_nothing_is_scored(zoo):
    for table, tables in ((catalog_of({"Panthera leo": 2}), None), (zoo.assign(split="train"), {})):
        if tables is None:
            tables = {"m": features_of(table, one_hot(SPECIES))}
        encoders = dict.fromkeys(tables, encoder_of(one_hot(SPECIES), table))
        scores, predictions = zero_shot.score_zero_shot(table, tables, encoders, CONFIG)
        assert scores.empty and predictions.empty
        for told in (mistakes.rank_accuracy, mistakes.mean_distances, mistakes.mistake_distances):
            assert told(predictions, table).empty
        assert zero_shot.calibration(predictions).empty


def tree_like(table, noise=0.0, seed=0):
    """Features that add a direction for each taxon above a species, so that relatives lie near each other."""
    rng = np.random.default_rng(seed)
    images = tasks.evaluated_images(table)
    directions = {}
    for rank in RANKS:
        for taxon in pd.unique(images[rank]):
            directions[taxon] = rng.normal(size=64)
    values = np.stack([sum(directions[row[r]] for r in RANKS) for _, row in images.iterrows()])
    return FeatureTable(list(images.index), (values + noise * rng.normal(size=values.shape)).astype(np.float32))


def test_the_hierarchy_is_found_where_it_is_and_every_number_can_be_written(tmp_path):
    table = catalog_of(dict.fromkeys(SPECIES, 3)).assign(split=lambda t: t["split"].replace("heldout_species", "test"))
    features = tree_like(table)
    scores, details = hierarchy.score_hierarchy(table, {"m": features}, CONFIG)
    rho = scores.set_index("metric")["value"]["spearman"]
    assert rho > 0.6 and len(details["zoo", "hierarchy/seen", "m"]["null"]) == 199
    metrics.append_metrics(tmp_path / "m.csv", scores, run="r", profile="smoke", notebook="08")


@pytest.mark.parametrize(
    "table",
    [
        catalog_of({"Panthera leo": 3, "Panthera onca": 3, "Puma concolor": 3}),  # too few species
        catalog_of(dict.fromkeys(SPECIES, 3), rank="genus"),  # none known to species
        catalog_of(dict.fromkeys(SPECIES, 3)).assign(genus=lambda t: t["verbatim_name"], family="", order=""),
    ],
    ids=["three", "genera", "some"],
)
def test_what_cannot_be_probed_is_left_out(table):
    scores, details = hierarchy.score_hierarchy(table, {"m": tree_like(table)}, CONFIG)
    assert scores.empty and not details


def test_equally_related_species_have_no_hierarchy():
    table = catalog_of(dict.fromkeys(SPECIES, 3)).assign(split="test")
    for rank in RANKS[:5]:
        table[rank] = "X"
    table["genus"] = table["verbatim_name"]
    assert hierarchy.score_hierarchy(table, {"m": tree_like(table)}, CONFIG)[0].empty


def test_scores_beside_none_are_still_numbers():
    """A catalog of classes above the species has no distances of mistakes; the bound of notebook 04 needs numbers."""
    row = dict.fromkeys(tasks.SCORE_COLUMNS, 0.5) | {"model": "random_init", "n": 4, "seeds": 1, "chance": 0.25}
    for scores in (
        [tasks.score_frame([row]), tasks.score_frame([])],
        [tasks.score_frame([]), tasks.score_frame([row])],
    ):
        scores = pd.concat(scores, ignore_index=True)
        assert scores["chance"].dtype == float and chance_bound(scores["chance"]).tolist() == [1.0]
