"""Training steps of ViT-B/16 in bf16 on one GPU, beside open_clip_train's: ``python -m speed.gpu``.

Ours is `train.fit` on images in memory: its steps crop, copy to the GPU and normalise them. open_clip's is
``open_clip_train.train.train_one_epoch`` on pixels that lie on the GPU already. Same weights, batch, plain CLIP loss,
AdamW and one caption an image. Utilisation is `costs.training_flops` a second, of distinct captions of their length,
over the rate of a large bf16 product measured in the same run.
"""

import itertools
import statistics
import tempfile
import time
from types import SimpleNamespace

import numpy as np
import torch

from bioclip_lib.config import load_config
from bioclip_lib.model.encode import prepare_pixels
from bioclip_lib.model.text import tokenize
from bioclip_lib.model.towers import build_model
from bioclip_lib.run import Run
from bioclip_lib.training.batches import TrainData
from bioclip_lib.training.costs import training_flops
from bioclip_lib.training.loop import fit

MODEL = {"model.name": "ViT-B-16"}
BATCHES = (1_024, 2_048, 4_096, 8_192, 16_384)
STEPS, SKIPPED = 6, 2  # the first steps, among them compilation, are left out of medians
PART = 1_024
CAPTION = "a photo of Animalia Chordata Aves Passeriformes Paridae Parus {}."


def settings(batch, checkpointing, in_parts, compiled, steps=STEPS, part=PART, precision="bf16"):
    """Return the overrides of a measurement."""
    train = {"steps": steps, "batch_size": batch, "optimizer": "adamw", "lr": 1e-3, "objective": "clip",
             "text_types": ("taxon",), "warmup_steps": 1,
             "higher_rank_share": 0.0, "precision": precision, "val_every_steps": 10**6,
             "checkpoint_every_steps": 10**6, "grad_checkpointing": checkpointing,
             "micro_batch_size": part * in_parts, "compile": compiled}  # fmt: skip
    return {f"train.{name}": value for name, value in train.items()}


def make_data(n, size_px, context_length):
    """Return n random images, each of a class of its own, so that no caption is encoded twice."""
    pixels = np.random.default_rng(0).integers(0, 256, (n, size_px, size_px, 3), dtype=np.uint8)
    tokens = tokenize([CAPTION.format(i) for i in range(n)], context_length)
    return TrainData(pixels, np.arange(n), tokens[:, None])


def our_seconds(config, data):
    """Return the seconds of each of our steps."""
    few = TrainData(data.inputs[:2], data.labels[:2], data.tokens)
    with tempfile.TemporaryDirectory() as folder:
        log = fit(build_model(config.model), data, few, config, Run(folder), progress=False)
    return list(config.train.batch_size / log["images_per_s"])


def their_seconds(config, data):
    """Return the seconds of each step of open_clip's trainer; parts of a batch are its ``--accum-freq``."""
    from open_clip import ClipLoss
    from open_clip_train.train import train_one_epoch

    cfg, model = config.train, build_model(config.model)
    device, part = model.logit_scale.device, cfg.micro_batch_size or cfg.batch_size
    pixels = [prepare_pixels(torch.from_numpy(data.inputs[i : i + part]).to(device), model.visual.preprocess_cfg)
              for i in range(0, cfg.batch_size, part)]  # fmt: skip
    parts = list(zip(pixels, torch.as_tensor(data.tokens)[:, 0].to(device).split(part), strict=True))
    loader = _Loader(parts, cfg.steps, device)
    model.output_dict = True
    model.set_grad_checkpointing(cfg.grad_checkpointing)
    groups = [{"params": list(model.parameters()), "lr": cfg.lr, "weight_decay": cfg.weight_decay}]
    optimizer = torch.optim.AdamW(groups, betas=(cfg.beta1, cfg.beta2), eps=cfg.eps)
    args = SimpleNamespace(
        device=device, precision={"bf16": "amp_bf16"}.get(cfg.precision, cfg.precision), distill=False,
        accum_freq=len(parts), skip_scheduler=True, grad_clip_norm=None, horovod=False, rank=0, local_rank=0,
        log_local=False, log_every_n_steps=10**6, batch_size=part, world_size=1, wandb=False,
    )  # fmt: skip
    train_one_epoch(
        torch.compile(model) if cfg.compile else model,
        {"train": loader},
        ClipLoss(),
        0,
        optimizer,
        None,
        None,
        None,
        args,
    )
    return loader.seconds()


class _Loader:
    """Gives the parts of one batch again and again, and notes when each batch was asked for."""

    def __init__(self, parts, steps, device):
        self.parts, self.steps, self.device, self.times = parts, steps, device, []
        self.num_batches, self.num_samples = steps * len(parts), steps * sum(len(part[0]) for part in parts)
        self.dataloader = self

    def set_epoch(self, epoch):
        pass

    def __iter__(self):
        for _ in range(self.steps):
            self._note()
            yield from self.parts
        self._note()

    def _note(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    def seconds(self):
        return [b - a for a, b in itertools.pairwise(self.times)]


def product_flops(device, n=8_192, repeats=20):
    """Measure the rate of bf16 products of n x n matrices, in operations a second."""
    a = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        (a @ a)[0, 0].item()  # waits for the product
        seconds.append(time.perf_counter() - start)
    return 2 * n**3 / statistics.median(seconds)


def measure(trainer, config, data):
    """Return the images/s of a trainer, None where memory does not suffice."""
    try:
        return config.train.batch_size / statistics.median(trainer(config, data)[SKIPPED:])
    except torch.OutOfMemoryError:
        return None
    finally:
        torch.cuda.empty_cache()


def print_table(model_settings, batches, matrix_rate, size_px=224, compiles=(False, True), **kwargs):
    """Measure all combinations; print a row as soon as it is known."""
    columns = ["batch", "checkpointing", "in parts", "compile", "ours, images/s", "utilisation"]
    print("| " + " | ".join([*columns, "open_clip_train, images/s", "ratio"]) + " |")
    print("| ---: | --- | --- | --- | ---: | ---: | ---: | ---: |")
    for batch in batches:
        for options in itertools.product((False, True), (False, True), compiles):
            config = load_config("mini", model_settings | settings(batch, *options, **kwargs))
            data = make_data(batch, size_px, config.model.context_length)
            length = int(torch.as_tensor(data.tokens).argmax(dim=-1).max()) + 1
            flops = training_flops(build_model(config.model), batch, batch, length)
            ours, theirs = (measure(trainer, config, data) for trainer in (our_seconds, their_seconds))
            share = f"{ours / batch * flops / matrix_rate:.0%}" if ours else ""
            rates = [f"{rate:,.0f}" if rate else "out of memory" for rate in (ours, theirs)]
            ratio = f"{ours / theirs:.2f}" if ours and theirs else ""
            print(
                "| " + " | ".join([f"{batch:,}", *map(str, options), rates[0], share, rates[1], ratio]) + " |",
                flush=True,
            )


def main():
    """Measure on the GPU, or say that there is none."""
    if not torch.cuda.is_available():
        print("speed.gpu needs a GPU; none was found")
        return
    rate = product_flops(torch.device("cuda"))
    print(f"{torch.cuda.get_device_name()}: bf16 products at {rate / 1e12:,.0f} TFLOP/s\n")
    print_table(MODEL, BATCHES, rate)


if __name__ == "__main__":
    main()
