"""Every figure is drawn again from the tables of a run alone, with its caption and how it was made."""

import base64
import hashlib
import io
import json
import re
import shutil
import warnings
from importlib import metadata

import matplotlib
import pytest
from matplotlib.figure import Figure
from PIL import Image

from bioclip_lib import figures
from bioclip_lib.config import load_config
from bioclip_lib.errors import InputError
from bioclip_lib.figures import gallery, style
from bioclip_lib.run import Run, open_run

from . import tables


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = open_run(tmp_path_factory.mktemp("runs") / "mini", load_config("mini"))
    tables.write(run)
    return run


@pytest.fixture(scope="module")
def drawn(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "coarse.mplstyle").write_text("savefig.dpi: 60\n")
    arguments = ["--run", str(run.root), "--to", str(folder), "--width", "85mm"]
    assert gallery.main([*arguments, "--style", str(folder / "coarse.mplstyle")]) == 0
    return folder


def test_all_figures_come_from_tables_alone(run, drawn):
    assert {path.name for path in run.root.iterdir()} == {
        *("config.json", "environment.json", "manifest.jsonl", "tables", "metrics.csv"),
    }
    names = {*gallery.MAKERS, "umap_trained"}
    for suffix in (*gallery.FORMATS, "txt", "json"):
        found = {path.stem for path in drawn.glob(f"*.{suffix}")}
        assert names <= found, suffix
    assert {path.stem for path in drawn.glob("*.tex")} == {"results", "results_by_text_type"}
    with Image.open(drawn / "few_shot.png") as png:
        assert png.width == pytest.approx(85 / 25.4 * 60, abs=1)


def test_captions_tell_n_interval_and_method(drawn):
    told = {path.stem: path.read_text() for path in drawn.glob("*.txt")}
    assert "birds100, seen species: 100 images" in told["zero_shot"] and "95 % intervals" in told["zero_shot"]
    assert "SimpleShot" in told["few_shot"] and "chance, a candidate drawn at random" in told["few_shot"]
    assert "after 9,999 permutations" in told["mantel"] and "one-sided Mantel test" in told["mantel"]
    assert "all candidates are of one taxon there: kingdom" in told["rank_accuracy"]
    assert "n = 200 test images" in told["umap_trained"]
    assert "of 11 classes (chance 9.1 %)" in told["training"]
    assert not [name for name, text in told.items() if "random_init" in text or "nan" in text.split()]


def test_a_pdf_embeds_its_fonts_and_an_svg_keeps_markup_as_text(drawn):
    assert b"/FontFile2" in (drawn / "few_shot.pdf").read_bytes()
    assert b"<i>" not in (drawn / "contact_sheet.svg").read_bytes()


def test_photographs_are_kept_as_they_are_in_an_svg_and_shown_smooth_in_a_notebook(run, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "FORMATS", ("svg", "png"))
    fig = figures.draw(run, "contact_sheet", tmp_path)
    (photographs,) = fig.axes[0].images
    (data,) = re.findall(r"data:image/png;base64,([^\"]+)", (tmp_path / "contact_sheet.svg").read_text())
    with Image.open(io.BytesIO(base64.b64decode(data))) as kept:
        n_rows, n_columns, _ = photographs.get_array().shape
        assert kept.size == (n_columns, n_rows)
    assert photographs.get_interpolation() == "auto"


def test_how_it_was_made_stands_beside_a_figure(run, drawn):
    made = json.loads((drawn / "zero_shot.json").read_text())
    digest = hashlib.sha256((run.tables / "zero_shot.csv").read_bytes()).hexdigest()
    assert made["inputs"] == {"tables/zero_shot.csv": digest} and made["notebook"] == "04_zero_shot"
    assert made["parameters"]["evaluate"]["shots"] == [1, 5] and made["profile"] == "mini"
    assert {"git_commit", "made", "run", "figure"} <= set(made)
    assert made["packages"]["torch"] == metadata.version("torch")


def test_the_same_figure_is_the_same_file(run, tmp_path):
    files = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        figures.draw(run, "caption_words", folder)
        files.append([(folder / f"caption_words.{suffix}").read_bytes() for suffix in gallery.FORMATS])
    assert files[0] == files[1]


@pytest.mark.parametrize("name", ["caption_words", "contact_sheet"])
def test_a_figure_is_laid_out_once_for_all_its_formats(run, tmp_path, monkeypatch, name):
    laid_out, execute = [], style.ConstrainedLayoutEngine.execute
    monkeypatch.setattr(style.ConstrainedLayoutEngine, "execute", lambda *of: laid_out.append("") or execute(*of))
    save = gallery.save_figure
    monkeypatch.setattr(gallery, "save_figure", lambda *of: laid_out.clear() or save(*of))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig = figures.draw(run, name, tmp_path)
        assert fig._repr_png_() and laid_out == []


def test_one_colour_of_a_style_file_changes_all_figures(run, tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(gallery, "FORMATS", ("png",))
    of_models = ["zero_shot", "rank_accuracy", "mistakes", "few_shot", "mantel", "overview", "training"]
    cycle = 'axes.prop_cycle: cycler("color", ["123456"])'
    (tmp_path / "my.mplstyle").write_text(f"{cycle}\ntext.color: ff0000\nsavefig.dpi: 60\n")
    with figures.with_style(tmp_path / "my.mplstyle", 85):
        for name in gallery.makers(run):
            fig = figures.draw(run, name, tmp_path)
            artists = fig.findobj(lambda artist: hasattr(artist, "get_color") or hasattr(artist, "get_edgecolor"))
            assert name not in of_models or any(_has(artist, "#123456") for artist in artists), name
            assert any(_has(artist, "#ff0000") for artist in artists), name
            assert (tmp_path / f"{name}.png").read_bytes() != (drawn / f"{name}.png").read_bytes(), name


def _has(artist, colour):
    found = [
        getattr(artist, name)() for name in ("get_color", "get_edgecolor", "get_facecolor") if hasattr(artist, name)
    ]
    with_alpha = [matplotlib.colors.to_rgba_array(c) for c in found]
    return any(
        (abs(c[:, :3] - matplotlib.colors.to_rgb(colour)) < 1e-6).all(axis=1).any() for c in with_alpha if len(c)
    )


def test_what_a_run_lacks_is_named_with_its_notebook(run, tmp_path, capsys):
    shutil.copytree(run.root, tmp_path / "part")
    (tmp_path / "part" / "tables" / "few_shot.csv").unlink()
    part = Run(tmp_path / "part")
    with pytest.raises(InputError, match=r"few_shot.csv is not there; run notebook 05_few_shot"):
        figures.draw(part, "few_shot")
    for name in gallery.MAKERS:
        if name != "caption_words" and name != "few_shot":
            for path in gallery.MAKERS[name].tables:
                (part.root / path).unlink(missing_ok=True)
    assert gallery.main(["--run", str(part.root)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("2 figures as") and "not drawn: few_shot: tables/few_shot.csv is written by" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--run", "nowhere"],
        ["--style", "nowhere.mplstyle"],
        ["--width", "2"],
        ["--width", "8.5cm"],
    ],
)
def test_a_mistake_is_one_line(run, arguments, capsys):
    assert gallery.main(["--run", str(run.root), *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "pass" in said and said.count("\n") == 1


def test_an_unknown_figure_is_refused(run):
    with pytest.raises(InputError, match="there is no figure 'flow'; choose one of contact_sheet"):
        figures.draw(run, "flow")


def test_an_interrupted_save_leaves_no_account_of_it(run, tmp_path, monkeypatch):
    figures.draw(run, "caption_words", tmp_path)
    savefig = Figure.savefig

    def full_disk(self, path, **options):
        savefig(self, path, **options)
        if options["format"] == "png":
            raise OSError("no space left on device")

    monkeypatch.setattr(Figure, "savefig", full_disk)
    with pytest.raises(OSError, match="no space"):
        figures.draw(run, "caption_words", tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"caption_words.{s}" for s in ("pdf", "png", "svg", "txt")]


def test_a_smoke_run_marks_its_figures_once(tmp_path):
    smoke = open_run(tmp_path / "smoke", load_config("smoke"))
    smoke.tables.mkdir()
    tables.write(smoke)
    for name in ("caption_words", "contact_sheet"):
        fig = figures.draw(smoke, name)
        style.mark_smoke(fig)
        assert sum("not a result" in text.get_text() for text in fig.texts) == 1


@pytest.mark.parametrize("name", ["few_shot", "zero_shot", "overview", "mistakes", "rank_accuracy", "mantel"])
def test_an_empty_table_gives_a_figure_and_a_caption(run, tmp_path, name):
    path = gallery.MAKERS[name].tables[0]
    empty = Run(tmp_path / "empty")
    (empty.root / path).parent.mkdir(parents=True)
    (empty.root / path).write_text((run.root / path).read_text().splitlines()[0] + "\n")
    figures.draw(empty, name)
    assert (empty.figures / f"{name}.txt").read_text().strip()
