"""The rule of Rare Species: by hand, and on the species of the published benchmark among invented ones."""

from pathlib import Path

import pandas as pd
import pytest

from bioclip_lib.catalog.leaks import find_leaks, remove_leaks
from bioclip_lib.catalog.rare_species import choose_rare_species, main, read_red_list
from bioclip_lib.catalog.table import check_catalog, read_catalog, write_catalog
from bioclip_lib.errors import InputError
from tests.catalog.test_table import simple_catalog


def species_catalog(sizes: dict[str, int], source: str = "eol") -> pd.DataFrame:
    """Build a catalog of usable images whose names are species."""
    catalog = simple_catalog(sizes, source)
    return catalog.assign(
        scientific_name=catalog["verbatim_name"], rank="species", name_status="accepted", phash="0" * 16
    )


def red_list(*names: str) -> pd.Series:
    return pd.Series("VU", index=pd.Index(names, name="scientific_name"), name="category")


def chosen_species(chosen: pd.DataFrame) -> set[str]:
    return set(chosen["scientific_name"])


def test_each_part_of_the_rule():
    eol = species_catalog({"Aus bus": 5, "Cus few": 2, "Dus safe": 5, "Eus inat": 5, "Fus lost": 5, "Gus gus": 3})
    other = species_catalog({"Eus inat": 1, "Dus safe": 1, "Hus hus": 9}, "inat21")
    catalog = pd.concat([eol, other], ignore_index=True)
    catalog.loc[catalog["verbatim_name"] == "Fus lost", "excluded"] = "truncated"
    catalog.loc[catalog["source"] == "inat21", "excluded"] = "image not in the published archives"
    listed = red_list("Aus bus", "Cus few", "Eus inat", "Fus lost", "Gus gus", "Hus hus", "Not here")
    chosen = choose_rare_species(catalog, listed, n_images=3)
    assert chosen["scientific_name"].value_counts().to_dict() == {"Aus bus": 3, "Gus gus": 3}
    assert set(chosen["split"]) == {"heldout_species"} and set(chosen["source"]) == {"eol"}
    check_catalog(chosen)
    assert chosen_species(choose_rare_species(catalog, listed, n_images=5)) == {"Aus bus"}
    with pytest.raises(InputError, match=r"no species of 'bioscan' is on the list, has 3 .* sources here: eol, inat21"):
        choose_rare_species(catalog, listed, source="bioscan", n_images=3)


def test_images_named_above_the_species_are_no_candidates_and_do_not_bar_a_species():
    genus = species_catalog({"Aus": 40}, "inat21").assign(rank="genus")
    catalog = pd.concat([species_catalog({"Aus bus": 3, "Aus": 3}), genus], ignore_index=True)
    catalog.loc[catalog["scientific_name"] == "Aus", "rank"] = "genus"
    assert chosen_species(choose_rare_species(catalog, red_list("Aus", "Aus bus"), n_images=3)) == {"Aus bus"}


def test_the_choice_is_seeded_and_of_the_names_alone():
    sizes = {f"Aus s{i:02d}": 6 for i in range(30)}
    catalog, listed = species_catalog(sizes), red_list(*sizes)
    options = {"n_species": 10, "n_images": 4}
    chosen = choose_rare_species(catalog, listed, **options)
    assert len(chosen_species(chosen)) == 10 and len(chosen) == 40
    shuffled = choose_rare_species(catalog.sample(frac=1, random_state=1), listed.sample(frac=1), **options)
    assert set(shuffled["image_id"]) == set(chosen["image_id"])
    other = choose_rare_species(catalog, listed, seed=1, **options)
    assert chosen_species(other) != chosen_species(chosen)
    assert chosen_species(choose_rare_species(catalog, listed, n_species=9, n_images=4)) < chosen_species(chosen)


def test_as_a_benchmark_its_images_and_its_species_are_kept_out_of_training():
    catalog = species_catalog({"Aus bus": 6, "Cus dus": 6})
    rare = choose_rare_species(catalog, red_list("Aus bus"), n_images=4)
    left = remove_leaks(catalog, find_leaks(catalog, rare))
    assert set(left.loc[left["excluded"] == "", "scientific_name"]) == {"Cus dus"}
    reasons = left.loc[left["excluded"] != "", "excluded"].value_counts().to_dict()
    assert reasons == {"leak into eol (exact)": 4, "leak into eol (species hold-out)": 2}


def test_the_command_writes_a_benchmark_or_says_what_is_wrong(tmp_path, capsys):
    write_catalog(species_catalog({"Aus bus": 4, "Cus dus": 4}).assign(split="train"), tmp_path / "catalog.parquet")
    (tmp_path / "iucn.csv").write_text("scientificName,redlistCategory\nAus bus,VU\n")
    asked = [str(tmp_path / "catalog.parquet"), str(tmp_path / "iucn.csv"), "--out", str(tmp_path / "rare.parquet")]
    assert main([*asked, "--images", "3"]) == 0
    chosen = read_catalog(tmp_path / "rare.parquet")
    assert chosen["scientific_name"].tolist() == ["Aus bus"] * 3 and set(chosen["split"]) == {"heldout_species"}
    assert capsys.readouterr().out == f"1 species, 3 images: SET=data.benchmark={tmp_path / 'rare.parquet'}\n"
    assert main(asked) == 2 and capsys.readouterr().err.startswith("error: no species of 'eol' is on the list")


@pytest.mark.parametrize(
    ("header", "categories"),
    [
        ("assessmentId,scientificName,redlistCategory", ["Near Threatened", "Critically Endangered", "Least Concern"]),
        ("id;species;category", ["nt", "CR", "LC"]),
        ("id\tScientific Name\tRed List Category", ["Lower Risk/near threatened", "CRITICALLY ENDANGERED", "Extinct"]),
    ],
)
def test_exports_of_the_red_list(tmp_path, header, categories):
    sign = next(sign for sign in ",;\t" if sign in header)
    names = ["Aus  bus ", "Cus dus", "Eus fus"]
    lines = [sign.join(("7", name, status)) for name, status in zip(names, categories, strict=True)]
    path = tmp_path / "simple_summary.csv"
    path.write_text("\n".join([header, *lines, sign.join(("8", "Aus bus ssp. x", categories[0]))]))
    assert read_red_list(path).to_dict() == {"Aus bus": "NT", "Cus dus": "CR", "Aus bus ssp. x": "NT"}


def test_all_five_categories_and_global_assessments_count(tmp_path):
    rows = ["EX", "EW", "CR", "EN", "VU", "NT", "LC", "DD", "NE"]
    path = tmp_path / "a.csv"
    lines = [f"A {status.lower()},{status},Global" for status in rows] + ["A lc,EN,Europe"]
    path.write_text("\n".join(["scientificName,redlistCategory,scopes", *lines]))
    assert set(read_red_list(path)) == {"EW", "CR", "EN", "VU", "NT"} and "A lc" not in read_red_list(path)


def test_lists_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match=r"no\.csv does not exist"):
        read_red_list(tmp_path / "no.csv")
    (tmp_path / "a.csv").write_text("scientificName,x\nAus bus,VU\n")
    with pytest.raises(InputError, match="no column for the Red List category: found scientificName, x"):
        read_red_list(tmp_path / "a.csv")


def test_the_species_of_the_published_benchmark_come_back_from_among_others(tmp_path):
    path = Path(__file__).resolve().parents[3] / "shared" / "annotations" / "rare_species.csv"
    if not path.is_file():
        pytest.skip(f"the table of Rare Species is looked for in {path}; not there")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    sizes = (table["genus"] + " " + table["species"]).value_counts()
    assert len(sizes) == 400 and sizes.sum() == 11_983
    names = sorted(sizes.index)
    invented = {f"Distractor {kind}{i}": 30 + i for kind in ("safe", "elsewhere") for i in range(40)}
    invented |= {f"Distractor few{i}": 29 for i in range(40)} | {f"Distractor unlisted{i}": 50 for i in range(40)}
    eol = species_catalog({**sizes.to_dict(), **invented})
    other = species_catalog({name: 2 for name in [*invented, "Else where"] if "elsewhere" in name}, "inat21")
    catalog = pd.concat([eol, other], ignore_index=True)
    status = ["Near Threatened", "Vulnerable", "Endangered", "Critically Endangered", "Extinct in the Wild"]
    listed = [*names, *(name for name in invented if "unlisted" not in name)]
    rows = [(n, "Least Concern" if "safe" in n else status[i % 5]) for i, n in enumerate(listed)]
    pd.DataFrame(rows, columns=["scientificName", "redlistCategory"]).to_csv(tmp_path / "iucn.csv", index=False)
    chosen = choose_rare_species(catalog, read_red_list(tmp_path / "iucn.csv"))
    whole = {name for name in names if sizes[name] >= 30}
    assert chosen_species(chosen) == whole and len(chosen) == 30 * len(whole)
    least = choose_rare_species(
        catalog, read_red_list(tmp_path / "iucn.csv"), n_images=int(sizes.min()), n_species=10**6
    )
    few = {name for name in invented if "few" in name}
    assert chosen_species(least) == set(names) | few
