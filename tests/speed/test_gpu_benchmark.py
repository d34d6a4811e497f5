"""The benchmark for GPUs, on the CPU at toy size; and its count of operations, by hand."""

import torch

from bioclip_lib.config import load_config
from bioclip_lib.model.towers import build_model
from bioclip_lib.training.costs import training_flops
from speed import gpu
from tests.training.test_loop import TINY


def test_operations_of_a_step_by_hand():
    model = build_model(load_config("smoke").model)  # both towers of width 64, 48 px in patches of 8, head of 64

    def block(n, width):
        qkv, scores_and_values, out = 2 * n * width * 3 * width, 2 * 2 * n * n * width, 2 * n * width * width
        return qkv + scores_and_values + out + 2 * 2 * n * width * 4 * width

    image = 2 * 36 * 3 * 8 * 8 * 64 + 2 * block(37, 64) + 2 * 64 * 64
    # of the last block of texts: keys and values of all tokens, and all else of the end token alone
    text = 2 * 7 * 64 * 2 * 64 + 2 * 64 * 64 + 2 * 2 * 7 * 64 + 2 * 64 * 64 + 2 * 2 * 64 * 4 * 64 + 2 * 64 * 64
    assert training_flops(model, n_images=5, n_texts=3, n_tokens=7) == 3 * (5 * image + 3 * text + 2 * 5 * 3 * 64)
    assert not model.training


def test_both_trainers_are_measured(capsys):
    toy = {name: value for name, value in TINY.items() if name.startswith("model.")}
    gpu.print_table(toy, [4], matrix_rate=1e9, size_px=16, compiles=(False,), steps=3, part=2, precision="fp32")
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(rows) == 4
    for row in rows:
        ours, theirs, ratio = (float(row[i].replace(",", "")) for i in (4, 6, 7))
        assert ours > 0 and theirs > 0 and ratio > 0


def test_without_a_gpu_it_says_so(capsys):
    if not torch.cuda.is_available():
        gpu.main()
        assert capsys.readouterr().out == "speed.gpu needs a GPU; none was found\n"
