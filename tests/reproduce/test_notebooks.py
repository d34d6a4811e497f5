"""The command: all notebooks under `smoke`, what they leave, and what happens to a user's mistakes."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
from nbclient.exceptions import DeadKernelError
from PIL import Image

from bioclip_lib import evaluation, structure
from bioclip_lib.catalog import splits
from bioclip_lib.catalog import table as catalog
from bioclip_lib.config import SplitConfig, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import metrics
from bioclip_lib.reproduce import __main__ as command_line
from bioclip_lib.reproduce import notebooks, page, settings
from bioclip_lib.run import REPOSITORY, Run, atomic, locked, manifest, remove, stages, write_json


def run_process(*arguments):
    """Run the command as a user does, in a process of its own; no traceback may ever reach them."""
    started = [sys.executable, "-m", "bioclip_lib.reproduce", *map(str, arguments)]
    done = subprocess.run(started, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def run_command(*arguments):
    """Run the command in this process: the same, without the seconds of its imports."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = command_line.main(list(map(str, arguments)))
    return SimpleNamespace(returncode=status, stdout=out.getvalue(), stderr=err.getvalue())


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """All notebooks, once, under the profile smoke."""
    root = tmp_path_factory.mktemp("runs") / "smoke"
    done = run_process("--profile", "smoke", "--run", root)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return Run(root)


def test_every_notebook_is_executed_and_nothing_half_written_is_left(smoke):
    wanted = sorted(p.name for p in (REPOSITORY / "notebooks").glob("*.ipynb"))
    assert sorted(p.name for p in smoke.notebooks.glob("*.ipynb")) == wanted
    assert not [p for p in smoke.root.rglob("*") if p.name.endswith(".tmp")]
    for path in smoke.notebooks.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            outputs = cell.get("outputs", [])
            assert not [o for o in outputs if o.output_type == "error"], path
            noise = "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stderr")
            assert "Warning" not in noise, f"{path.name}: {noise}"
            assert not noise or noise.count("\n") < 5, f"{path.name}: more than one line a bar: {noise[:500]}"


@pytest.mark.parametrize("command", ["--check", "--lab"])
def test_a_run_that_is_not_there_is_named_and_not_begun(command, tmp_path, capsys):
    assert command_line.main(["--run", str(tmp_path / "misspelt"), command]) == 2
    assert "misspelt holds no run" in capsys.readouterr().err and not (tmp_path / "misspelt").exists()


def test_jupyterlab_asks_nothing_of_its_own(monkeypatch):
    started = {}
    monkeypatch.setattr(command_line.subprocess, "call", lambda _, env, **__: started.update(env) or 0)
    assert command_line.main(["--lab"]) == 0
    ask = "from jupyterlab.labapp import LabApp; from jupyterlab_server.settings_utils import get_settings\n"
    ask += "found = get_settings('', LabApp().schemas_dir, '', '@jupyterlab/apputils-extension:notification')[0]\n"
    ask += "print(*(found['schema']['properties'][name]['default'] for name in ('fetchNews', 'checkForUpdates')))"
    said = subprocess.run([sys.executable, "-c", ask], env=started, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["false", "False"]


def test_a_reader_that_goes_away_is_no_traceback():
    asked = [sys.executable, "-m", "bioclip_lib.reproduce", "--list-settings"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY) as process:
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 141


def test_the_run_ends_with_its_answer(smoke):
    page = (smoke.root / "index.html").read_text(encoding="utf-8")
    assert "New photographs of species it was trained on" in page and page.count("data:image/jpeg") > 12


def test_the_results_are_whole(smoke):
    results = metrics.read_metrics(smoke.metrics_csv)
    tasks = {"zero_shot/seen", "zero_shot/unseen", "few_shot/1", "few_shot/5", "hierarchy/unseen", "hierarchy/seen"}
    assert tasks <= set(results["task"])
    assert set(results["model"]) >= {"trained", "random_init", "pixels"}
    assert (results["ci_low"] <= results["value"]).all() and (results["value"] <= results["ci_high"]).all()
    assert (results["n"] > 0).all() and (results["profile"] == "smoke").all()
    figures = {p.stem for p in smoke.figures.glob("*.png")}
    assert figures == {p.stem for p in smoke.figures.glob("*.json")} == {p.stem for p in smoke.figures.glob("*.pdf")}


def test_the_catalog_of_the_run_keeps_its_contract(smoke):
    table = catalog.read_catalog(smoke.catalog)
    catalog.check_catalog(table)
    assert set(table["split"]) == {"train", "val", "test", "heldout_species"}
    environment = json.loads(smoke.environment_json.read_text())
    assert environment["packages"]["open_clip_torch"]


def test_a_second_call_does_nothing_again(smoke):
    before = {p: p.stat().st_mtime_ns for p in smoke.root.rglob("*") if p.is_file() and p.name != ".lock"}
    done = run_command("--profile", "smoke", "--run", smoke.root)
    assert done.returncode == 0 and done.stdout.count("up to date") == len(list(smoke.notebooks.glob("*.ipynb")))
    assert {p: p.stat().st_mtime_ns for p in smoke.root.rglob("*") if p.is_file() and p.name != ".lock"} == before
    for thorough in ([], ["all"]):
        done = run_command("--profile", "smoke", "--run", smoke.root, "--check", *thorough)
        assert done.returncode == 0 and done.stdout.count("up to date") == len(list(smoke.notebooks.glob("*.ipynb")))


def test_a_check_waits_for_no_import_of_tables_or_models(tmp_path):
    write_json(tmp_path / "config.json", settings.as_written(load_config("smoke")))
    code = f"""
import sys
from bioclip_lib.reproduce.__main__ import main
assert main(["--run", {str(tmp_path)!r}, "--check"]) == 1  # nothing is made
print(sorted({{"numpy", "pandas", "pyarrow", "torch"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n") and "01_dataset_construction: never ended here" in done.stdout


def test_what_was_embedded_once_is_never_computed_again(smoke, run_cells, tmp_path):
    from torch.nn.modules.module import register_module_forward_pre_hook

    run, computed = Run(shutil.copytree(smoke.root, tmp_path / "run")), []
    config = load_config("smoke")
    hook = register_module_forward_pre_hook(lambda module, _: computed.append(type(module).__name__))
    try:
        for notebook in ("04_zero_shot", "05_few_shot"):  # 07 and 08 load the same features
            run_cells(notebook, profile="smoke", run_dir=str(run.root), overrides={})
        structure.score_controls(run, config)
        assert not computed
        shutil.rmtree(run.embeddings)
        evaluation.load_zero_shot(run, config)
        assert {"CLIP", "VisionTransformer", "Transformer"} & set(computed)
    finally:
        hook.remove()


def test_another_configuration_does_not_touch_the_run(smoke):
    done = run_command("--profile", "smoke", "--run", smoke.root, "--set", "train.steps=61")
    assert done.returncode == 2 and "train.steps: 60 there, 61 wanted" in done.stderr


@pytest.fixture
def copied_run(smoke, tmp_path, monkeypatch):
    """A copy of the run, in which a notebook is not executed: what it made is copied from the run that stays whole."""
    run, executed = Run(shutil.copytree(smoke.root, tmp_path / "run")), []
    makers = {stage: fact["files"] for stage, fact in manifest.read_manifest(smoke.root).stages.items()}

    def execute(notebook, run, parameters, label):
        executed.append(notebook.stem)
        for name in makers[notebook.stem]:
            (run.root / name).parent.mkdir(parents=True, exist_ok=True)
            if name == "metrics.csv":
                rows = metrics.read_metrics(smoke.metrics_csv).query(f"notebook == '{notebook.stem}'")
                metrics.append_metrics(run.metrics_csv, rows)
            else:
                with atomic(run.root / name) as tmp:
                    shutil.copy(smoke.root / name, tmp)
        return True

    monkeypatch.setattr(notebooks, "execute", execute)
    return SimpleNamespace(run=run, executed=executed, makers=makers, asked=load_config("smoke"))


def stems(first=""):
    return [p.stem for p in sorted((REPOSITORY / "notebooks").glob("*.ipynb")) if p.stem >= first]


def test_other_questions_are_asked_of_the_same_model(copied_run):
    asked = load_config("smoke", {"evaluate.shots": (2,)})
    assert notebooks.reproduce(copied_run.asked, copied_run.run.root) == 0 and not copied_run.executed
    for _ in range(2):
        assert notebooks.reproduce(asked, copied_run.run.root) == 0
        assert copied_run.executed == stems("04")
    assert json.loads(copied_run.run.config_json.read_text())["evaluate"]["shots"] == [2]
    with pytest.raises(InputError, match=r"train\.steps: 60 there, 61 wanted"):
        notebooks.reproduce(load_config("smoke", {"evaluate.shots": (2,), "train.steps": 61}), copied_run.run.root)


@pytest.mark.parametrize(
    ("lost", "makers"),
    [
        ("catalog.parquet", ["01_dataset_construction"]),
        ("shards", ["01_dataset_construction"]),
        ("shards/index.json", ["01_dataset_construction"]),
        ("attribution.csv", ["01_dataset_construction"]),
        ("checkpoints", ["03_training"]),
        ("model", ["03_training"]),
        ("model/open_clip_model.safetensors", ["03_training"]),
        ("embeddings/trained.parquet", ["04_zero_shot"]),
        ("tables/few_shot.csv", ["05_few_shot"]),
        ("figures/mantel.pdf", ["08_hierarchy_probes"]),
        ("controls/shuffled/model", ["08_hierarchy_probes"]),
        ("metrics.csv", ["04_zero_shot", "05_few_shot", "08_hierarchy_probes"]),
        ("manifest.jsonl", stems()),
    ],
)
def test_what_is_deleted_is_named_and_made_again_by_its_makers_alone(copied_run, lost, makers):
    remove(copied_run.run.root / lost)
    done = run_command("--profile", "smoke", "--run", copied_run.run.root, "--check")
    assert done.returncode == 1 and done.stdout.count("up to date") == len(stems()) - len(makers), done.stdout
    assert lost == "manifest.jsonl" or done.stdout.count("is missing") >= len(makers)
    assert notebooks.reproduce(copied_run.asked, copied_run.run.root) == 0
    assert set(copied_run.executed) == {*makers}
    assert notebooks.check(copied_run.asked, copied_run.run.root, by_digest=True) == 0


@pytest.mark.parametrize(
    ("name", "makers"),
    [
        ("catalog.parquet", ["01_dataset_construction"]),
        ("model/open_clip_model.safetensors", ["03_training"]),
        ("metrics.csv", ["04_zero_shot", "05_few_shot", "08_hierarchy_probes"]),
        ("notebooks/02_captions.ipynb", ["02_captions"]),
    ],
)
def test_what_is_damaged_is_named_and_made_again(copied_run, name, makers):
    path = copied_run.run.root / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = run_command("--profile", "smoke", "--run", copied_run.run.root, "--check")
    assert done.returncode == 1 and f"{name} is damaged or changed" in done.stdout
    assert f"make reproduce RUN={copied_run.run.root}\n" in done.stdout and "--" not in done.stdout
    assert notebooks.reproduce(copied_run.asked, copied_run.run.root) == 0 and set(copied_run.executed) == {*makers}
    assert notebooks.check(copied_run.asked, copied_run.run.root, by_digest=True) == 0


@pytest.mark.parametrize(
    ("package", "made_again"),
    [
        ("structure", "06 07 08 10 11"),
        ("evaluation", "04 05 06 07 08 09 10 11"),
        ("figures", "00 01 02 03 04 05 06 07 08 09 10 11"),
        ("reproduce", "10"),
    ],
)
def test_other_code_makes_the_stages_stale_that_import_it_and_no_other(copied_run, monkeypatch, package, made_again):
    digests = stages.code_digests

    def changed(modules):
        found = digests(modules)
        return found | ({package: "other"} if package in found else {})

    monkeypatch.setattr(stages, "code_digests", changed)
    done = run_command("--profile", "smoke", "--run", copied_run.run.root, "--check")
    stale = [line.partition(":")[0] for line in done.stdout.splitlines() if f"other code ({package})" in line]
    assert [name[:2] for name in stale] == made_again.split()
    assert notebooks.reproduce(copied_run.asked, copied_run.run.root) == 0 and copied_run.executed == stale


def test_a_second_command_on_a_run_hears_who_is_at_work(copied_run):
    with locked(copied_run.run.root), pytest.MonkeyPatch.context() as patch:
        patch.delenv("BIOCLIP_LOCKED")
        done = run_command("--profile", "smoke", "--run", copied_run.run.root)
    assert done.returncode == 2 and f"is being written (process {os.getpid()} on" in done.stderr


def test_stock_open_clip_loads_the_model(smoke):
    import torch

    from bioclip_lib.model import encode
    from bioclip_lib.model.load import load_model

    import open_clip  # isort: skip (after bioclip_lib.model, which declares torchvision's missing operators)

    stock, _, _ = open_clip.create_model_and_transforms(f"local-dir:{smoke.model}")
    ours = load_model(f"local-dir:{smoke.model}").model
    texts = ["a photo of Puma concolor.", "a photo of something else."]
    tokenizer = open_clip.get_tokenizer(f"local-dir:{smoke.model}")
    with torch.no_grad():
        theirs = stock.eval().encode_text(tokenizer(texts), normalize=True).numpy()
    np.testing.assert_allclose(theirs, encode.encode_texts(ours, texts), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "minni"], "unknown profile 'minni'"),
        (["--set", "train.step=3"], "train.steps"),
        (["--set", "train.steps"], "KEY=VALUE"),
        (["--settings", "data.names='a"], "close its quotes"),
        (["--set", "evaluate.templates=orginal"], "no templates"),
        (["--profile", "photos"], "PHOTOS="),
        (["--profile", "mini", "--photos", "somewhere"], "PROFILE=photos"),
        (["--photos", "somewhere"], "somewhere does not exist"),
        (["--profile", "photos", "--photos", "no/such/folder"], "does not exist"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_message_and_writes_nothing(tmp_path, arguments, message):
    done = run_command(*arguments, "--run", tmp_path / "run")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and message in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_mistake_ends_the_process_with_status_2():
    done = run_process("--set", "train.steps")
    assert done.returncode == 2 and done.stderr.startswith("error: SET takes KEY=VALUE")


def photo(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def folder_of_birds(root, n_images=4, names=("Turdus merula", "Parus major", "Corvus corax")):
    for i, name in enumerate(names):
        for j in range(n_images):
            photo(root / name / f"{j}.jpg", 100 * i + j)
    return root


def test_an_empty_folder_and_a_table_without_names_write_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    photo(tmp_path / "a.jpg", 0)
    pd.DataFrame({"path": ["a.jpg"], "colour": ["red"]}).to_csv(tmp_path / "a.csv", index=False)
    for photos, message in (("empty", "holds no file"), ("a.csv", "colour")):
        done = run_command("--profile", "photos", "--photos", tmp_path / photos, "--run", tmp_path / "run")
        assert done.returncode == 2 and message in done.stderr, done.stderr
        assert not (tmp_path / "run").exists()


@pytest.fixture()
def construction_only(tmp_path, monkeypatch):
    """The command with notebook 01 alone: the mistakes below are found there."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    shutil.copy(REPOSITORY / "notebooks" / "01_dataset_construction.ipynb", folder)
    monkeypatch.setattr(notebooks, "NOTEBOOKS", folder)


@pytest.mark.parametrize("mistake", ["one image", "unreadable", "synonyms"])
def test_photographs_that_cannot_be_used_are_one_message(tmp_path, capsys, construction_only, mistake):
    birds = folder_of_birds(tmp_path / "birds")
    if mistake == "one image":
        photo(birds / "Pica pica" / "0.jpg", 999)
        message = "Pica pica"
    elif mistake == "unreadable":
        for path in (birds / "Turdus merula").glob("*.jpg"):
            path.write_bytes(path.read_bytes()[:200])
        message = "4 of 12"
    else:
        folder_of_birds(tmp_path / "birds", names=["Turdus_merula"])
        for path in (birds / "Turdus_merula").glob("*.jpg"):
            photo(path, hash(path.name) % 1000 + 5000)
        message = "Turdus merula"
    status = command_line.main(["--profile", "photos", "--photos", str(birds), "--run", str(tmp_path / "run")])
    captured = capsys.readouterr()
    assert status == 2 and message in captured.err and "Traceback" not in captured.err, captured.err
    left = {p.name for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert left <= {"config.json", "environment.json", "names.csv", "manifest.jsonl", ".lock"}, left


def test_parameters_that_a_notebook_does_not_declare_are_refused(tmp_path):
    cell = nbformat.v4.new_code_cell("profile = 'mini'\nrun_dir = ''", metadata={"tags": ["parameters"]})
    path = tmp_path / "00_a.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    assert notebooks.declared_parameters(path) == {"profile", "run_dir"}
    with pytest.raises(InputError, match="overrides"):
        notebooks.check_parameters(path, {"profile": "mini", "overrides": {}})


def test_a_notebook_that_fails_is_kept_and_the_next_call_goes_on_from_it(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    parameters = nbformat.v4.new_code_cell(
        "profile = ''\nrun_dir = ''\noverrides = {}", metadata={"tags": ["parameters"]}
    )
    for name, source in (("00_a", "1"), ("01_b", "assert 1 == 2, 'sum'")):
        cells = [parameters, nbformat.v4.new_code_cell(source)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", folder)
    arguments = ["--profile", "smoke", "--run", str(tmp_path / "run")]
    assert command_line.main(arguments) == 1
    assert "AssertionError: sum" in capsys.readouterr().out
    run = Run(tmp_path / "run")
    assert (run.notebooks / "01_b.failed.ipynb").is_file() and not (run.notebooks / "01_b.ipynb").exists()
    metrics.append_metrics(run.metrics_csv, metrics_row())
    cells = [parameters, nbformat.v4.new_code_cell("2")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "01_b.ipynb")
    monkeypatch.setattr(page, "write_page", lambda run: ["open the page"])  # there is no catalog
    assert command_line.main(arguments) == 0
    assert "[1/2] 00_a: up to date" in capsys.readouterr().out


TRAINING = """
import pathlib, time
from bioclip_lib.errors import InputError
from bioclip_lib.training.loop import StopRequest
with StopRequest() as stop:
    pathlib.Path(run_dir, "begun").touch()
    while not stop.made:
        time.sleep(0.05)
    raise InputError("stopped after step 3 of 9")
"""
ELSEWHERE = "import pathlib, time\npathlib.Path(run_dir, 'begun').touch()\ntime.sleep(600)"
START = """
import pathlib, sys
from bioclip_lib.reproduce import __main__ as command_line, notebooks
notebooks.NOTEBOOKS = pathlib.Path(sys.argv[1])
sys.exit(command_line.main(["--profile", "smoke", "--run", sys.argv[2]]))
"""


def command_of_one_cell(tmp_path, cell):
    """The command on a run whose one notebook has one cell."""
    parameters = nbformat.v4.new_code_cell(
        "profile = ''\nrun_dir = ''\noverrides = {}", metadata={"tags": ["parameters"]}
    )
    (tmp_path / "notebooks").mkdir()
    notebook = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(cell)])
    nbformat.write(notebook, tmp_path / "notebooks" / "03_training.ipynb")
    return [sys.executable, "-c", START, str(tmp_path / "notebooks"), str(tmp_path / "run")]


def test_a_notebook_imports_the_library_of_its_command_and_its_warnings_are_told(tmp_path, capsys, monkeypatch):
    (tmp_path / "clone" / "bioclip_lib").mkdir(parents=True)
    (tmp_path / "clone" / "bioclip_lib" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "clone"))  # as another clone that is installed
    others = "warnings.warn_explicit('noise', UserWarning, '/lib/other.py', 3)"  # another library's reach nobody
    command_of_one_cell(tmp_path, f"import warnings, bioclip_lib\n{others}\nwarnings.warn(bioclip_lib.__file__)")
    parameters = {"profile": "", "run_dir": "", "overrides": {}}
    (tmp_path / "run").mkdir()
    assert notebooks.execute(tmp_path / "notebooks" / "03_training.ipynb", Run(tmp_path / "run"), parameters, "[1/1]")
    assert capsys.readouterr().err == f"note: {REPOSITORY / 'bioclip_lib' / '__init__.py'}\n"
    assert notebooks.own_code_first().split(os.pathsep) == [str(REPOSITORY), str(tmp_path / "clone")]


def test_settings_are_those_of_the_run_and_its_other_version_is_one_note(tmp_path):
    written = settings.as_written(load_config("smoke", {"train.steps": 77}))
    write_json(tmp_path / "config.json", written | {"gone": {"setting": 1}})
    done = run_process("--run", tmp_path, "--settings", "train.batch_size=9", "--list-settings")
    assert done.returncode == 0 and "train.steps = 77\n" in done.stdout and "train.batch_size = 9\n" in done.stdout
    assert done.stderr.startswith("note: ") and done.stderr.count("\n") == 1 and ".py" not in done.stderr
    done = run_command("--run", tmp_path / "misspelt", "--list-settings")
    assert done.returncode == 2 and "holds no run" in done.stderr
    assert run_command("--run", tmp_path / "new", "--profile", "smoke", "--list-settings").returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize(
    ("cell", "said"), [(TRAINING, "stopped after step 3 of 9;"), (ELSEWHERE, "nothing that was finished is lost;")]
)
def test_a_request_to_stop_goes_to_the_kernel_and_says_what_was_saved(tmp_path, cell, said):
    command = command_of_one_cell(tmp_path, cell)
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asked:
        while asked.poll() is None and not (tmp_path / "run" / "begun").exists():
            time.sleep(0.05)
        asked.terminate()
        _, heard = asked.communicate(timeout=120)
    assert asked.returncode == 130 and f"{said} the same command goes on from here" in heard, heard
    assert not list((tmp_path / "run" / "notebooks").glob("*.ipynb"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize("event", ["killed", "asked to stop", "asked before there is a kernel to be told"])
def test_a_kernel_that_ends_before_it_answers_is_no_traceback(tmp_path, event):
    begun, told = (tmp_path / "run" / "begun", tmp_path / "told")
    wait = f"[time.sleep(0.05) for _ in iter(lambda: os.path.exists({str(told)!r}), True)]"
    then = {"killed": "os._exit(9)", "asked to stop": "time.sleep(600)"}.get(event, wait)
    line = f"import os, pathlib, time; pathlib.Path({str(begun)!r}).touch(); {then}"
    change = f"notebooks.KERNEL['extra_arguments'] = [notebooks.QUIET, {'--IPKernelApp.exec_lines=' + line!r}]\n"
    if "before" in event:
        change += "notebooks.psutil.Process.children = lambda self: []\n"
    *begin, code, folder, root = command_of_one_cell(tmp_path, "1")
    command = [*begin, code.replace("sys.exit", f"{change}sys.exit"), folder, root]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=-1, stderr=subprocess.STDOUT, text=True) as started:
        while event != "killed" and started.poll() is None and not begun.exists():
            time.sleep(0.05)
        if event != "killed":
            started.terminate()
            told.touch()
        said, _ = started.communicate()
    assert "Traceback" not in said and started.returncode == (1 if event == "killed" else 130), said
    assert ("its kernel died" if event == "killed" else notebooks.NOTHING_LOST) in said


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (DeadKernelError("died"), True),
        (RuntimeError("Kernel died before replying to kernel_info"), True),
        (RecursionError("too deep"), False),
        (NotImplementedError("not here"), False),
        (KeyError("name"), False),
    ],
)
def test_only_what_says_that_a_kernel_died_is_told_as_that(tmp_path, monkeypatch, capsys, error, is_told):
    def execute(*_, **__):
        raise error

    command_of_one_cell(tmp_path, "1")
    monkeypatch.setattr(papermill, "execute_notebook", execute)
    asked = (tmp_path / "notebooks" / "03_training.ipynb", Run(tmp_path / "run"), {}, "[1/1]")
    (tmp_path / "run").mkdir()
    if not is_told:
        with pytest.raises(type(error)):
            notebooks.execute(*asked)
    assert not is_told or notebooks.execute(*asked) is False
    assert ("its kernel died" in capsys.readouterr().out) == is_told


@pytest.mark.skipif(
    sys.platform == "win32" or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, reason="nohup, or no POSIX signals"
)
def test_a_terminal_that_is_closed_asks_to_stop(tmp_path):
    cell = TRAINING.replace("    raise", "    print('to nobody'); pathlib.Path(run_dir, 'saved').touch()\n    raise")
    command = command_of_one_cell(tmp_path, cell)
    ours, theirs = os.openpty()
    code = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", code, *command],
        **{"cwd": REPOSITORY, "stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True},
    ) as asked:
        os.close(theirs)
        while asked.poll() is None and not (tmp_path / "run" / "begun").exists():
            time.sleep(0.05)
        os.close(ours)
        assert asked.wait(120) == 130
    assert (tmp_path / "run" / "saved").exists() and not list((tmp_path / "run" / "notebooks").glob("*.ipynb"))


def metrics_row():
    values = {"value": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 10, "seeds": 1, "chance": 0.1, "seconds": 1.0}
    keys = {
        "run": "run",
        "profile": "smoke",
        "notebook": "a",
        "dataset": "d",
        "model": "trained",
        "task": "zero_shot/seen",
    }
    return pd.DataFrame([{**keys, "metric": "top1", **values}])


def test_settings_survive_the_way_through_the_notebook():
    config = load_config("mini", {"train.text_types": "com,sci", "train.steps": 3})
    changed = json.loads(json.dumps(settings.changed(config)))
    assert changed == {"train.text_types": ["com", "sci"], "train.steps": 3}
    assert load_config("mini", changed) == config


@pytest.fixture
def two_sets(tmp_path, write_image):
    """A folder of two sets, one with a table of names; and a table of the same images."""
    for i, name in enumerate(("birds/Jay", "birds/Tit", "trees/Oak")):
        write_image(tmp_path / "photos" / name / "1.jpg", seed=i)
    (tmp_path / "photos" / "birds" / "classes.csv").write_text("class_name,scientific_name\nJay,Cyanocitta cristata\n")
    (tmp_path / "table.csv").write_text("path,name,license\nphotos/birds/Jay/1.jpg,Blue Jay,CC0\n")
    return tmp_path


def test_options_and_settings_become_dotted_settings(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    given = Namespace(set=["data.extends=a.parquet"], settings="train.steps=7", photos="b/c", names="", unfreeze=True)
    assert command_line.settings_from(given) == {
        "data.extends": str(tmp_path / "a.parquet"),
        "train.steps": "7",
        "data.photos": str(tmp_path / "b" / "c"),
        "train.freeze_image_tower": False,
    }


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_and_the_shell_read_nothing_into_what_they_are_given(tmp_path):
    odd = "a'b\"c $(touch made) `touch made` $$(shell touch made) ; touch made"
    given = [f"PHOTOS={odd}", f"RUN={odd}", "SET=data.names='my names.csv' train.steps=7;touch made"]
    (tmp_path / "python").write_text('#!/bin/sh\nfor a in "$@"; do printf "%s\\n" "$a"; done\n')
    (tmp_path / "python").chmod(0o755)
    make = ["make", "-s", "-f", str(REPOSITORY / "Makefile"), "VENV="]
    path = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def heard(*asked):
        done = subprocess.run([*make, *asked], cwd=tmp_path, env=path, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        return dict(zip(lines, [*lines[1:], ""], strict=True))

    told = heard("reproduce", *given)
    assert told["--photos"] == told["--run"] == odd
    assert told["--settings"] == given[2].removeprefix("SET=") and not (tmp_path / "made").exists()
    assert heard("settings", *given)["--run"] == odd
    told = heard("name", f"PHOTOS={odd}", "RUN=r", f"ADD={odd}", "EVENTS=my column")
    assert told["bioclip_lib.identify"] == told["--add"] == odd and told["--events"] == "my column"
    assert "--add" not in heard("name", "PHOTOS=p", "RUN=r") and not (tmp_path / "made").exists()


def test_what_is_said_of_photographs_is_part_of_their_digest(two_sets):
    for photos, file, old, new in (
        ("photos", "photos/birds/classes.csv", "Cyanocitta cristata", "Garrulus glandarius"),
        ("table.csv", "table.csv", "1.jpg,Blue Jay", "1.jpg,Great Tit"),
        ("table.csv", "table.csv", "CC0", "CC BY"),
    ):
        config = load_config("photos", {"data.photos": str(two_sets / photos)})
        before, text = settings.digest_of_photos(config), (two_sets / file).read_text()
        assert settings.digest_of_photos(config) == before
        (two_sets / file).write_text(text.replace(old, new))
        assert settings.digest_of_photos(config) != before, (file, old)


@pytest.mark.parametrize("setting", ["data.extends", "data.benchmark"])
def test_another_content_of_the_catalogs_that_settings_name_is_another_input(request, tmp_path, setting):
    path = tmp_path / "catalog.parquet"
    table = splits.assign_splits(request.getfixturevalue("catalog"), SplitConfig())
    catalog.write_catalog(table, path)
    config = load_config("smoke", {setting: str(path)})
    before = settings.digest_of_training(config)
    assert before != settings.digest_of_training(load_config("smoke"))
    catalog.write_catalog(table, path)
    assert settings.digest_of_training(config) == before
    catalog.write_catalog(table.assign(license="cc0"), path)
    assert settings.digest_of_training(config) != before
    path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        settings.digest_of_training(config)


def test_an_executed_notebook_that_is_gone_is_made_again(smoke):
    (smoke.notebooks / "10_paper_figures.ipynb").unlink()
    done = run_command("--profile", "smoke", "--run", smoke.root)
    assert done.returncode == 0 and done.stdout.count("up to date") == len(stems()) - 1
    assert (smoke.notebooks / "10_paper_figures.ipynb").is_file()
    assert run_command("--profile", "smoke", "--run", smoke.root, "--check=all").returncode == 0
