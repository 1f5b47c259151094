"""What a GPU computes is what the processor computes, and no training step waits for it.

Skipped where CUDA finds no GPU. The rest of the suite runs on a GPU too where there is one, since it is the default
device of the commands.
"""

import json

import numpy as np
import pytest
import torch
from torch import nn
from transformers import TrainerCallback

import safr
import safr.losses.blocked_attention as blocks
from safr.attribution.registry import METHODS
from safr.cli import main
from safr.config import Regularization
from safr.data.encoding import encode
from safr.evaluation.evaluate import evaluate
from safr.inference import predict
from safr.model.attention import safr_attention
from safr.training import train
from tests import tiny
from tests.model.families import FC1, batch
from tests.model.families import tiny as tiny_family
from tests.task_data import OPTIONS, write_task

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA finds no GPU")

LABELS = torch.tensor([0, 1, 0])
BOTH_LOSSES = Regularization(importance=1, interaction=1, vmask=False, interaction_estimator="exact")


def terms_and_gradients(model, inputs, device, precision=None):
    """All loss terms, and the gradient of their sum for every weight, on the processor; nothing is dropped."""
    model.to(device).eval().zero_grad()
    with torch.autocast(device, dtype=precision, enabled=precision is not None):
        loss = model(**{name: value.to(device) for name, value in inputs.items()}).loss
    loss.backward()
    terms = {name: value.item() for name, value in model.safr.terms.items()}
    assert set(terms) == {"task", "importance", "interaction"}
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    return terms, {name: gradient.to("cpu", copy=True) for name, gradient in gradients.items()}


@pytest.mark.parametrize("family", FC1)
def test_losses_and_gradients_of_every_family(family):
    model = safr.attach(tiny_family(family), BOTH_LOSSES)
    inputs = {**batch(family=family), "labels": LABELS}
    terms, gradients = terms_and_gradients(model, inputs, "cpu")
    on_gpu, gpu_gradients = terms_and_gradients(model, inputs, "cuda")
    assert on_gpu == pytest.approx(terms, rel=1e-4)
    assert gpu_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gpu_gradients[name], gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("block", [2**26, 64, 9])
def test_any_size_of_blocks(monkeypatch, block):
    monkeypatch.setitem(blocks._BLOCK, "cuda", block)
    model = safr.attach(tiny_family("paper"), BOTH_LOSSES)
    inputs = {"input_ids": torch.randint(5, 40, (3, 70)), "labels": LABELS}
    terms, gradients = terms_and_gradients(model, inputs, "cpu")
    on_gpu, gpu_gradients = terms_and_gradients(model, inputs, "cuda")
    assert on_gpu == pytest.approx(terms, rel=1e-4)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gpu_gradients[name], gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_losses_under_autocast_are_float32_and_differ_by_rounding(precision):
    model = safr.attach(tiny_family("bert"), BOTH_LOSSES)
    inputs = {**batch(), "labels": LABELS}
    terms, _ = terms_and_gradients(model, inputs, "cuda")
    rounded, gradients = terms_and_gradients(model, inputs, "cuda", precision)
    assert rounded == pytest.approx(terms, rel=0.03)
    assert {value.dtype for value in model.safr.terms.values()} == {torch.float32}
    assert all(gradient.isfinite().all() for gradient in gradients.values())


def test_gradients_beside_hidden_keys_are_numbers_in_bfloat16():
    """cuDNN's kernel makes some of them none, with queries and keys as long as in a trained model (torch 2.11)."""
    attended = torch.arange(64) < torch.randint(2, 40, (32, 1, 1, 1))
    for _ in range(50):
        query, key, value = (
            (scale * torch.randn(32, 8, 64, 32, device="cuda", dtype=torch.bfloat16)).requires_grad_()
            for scale in (10, 10, 1)
        )
        mixed, _ = safr_attention(nn.Module(), query, key, value, attended.expand(-1, -1, 64, -1).cuda())
        mixed.sum().backward()
        assert all(each.grad.isfinite().all() for each in (query, key, value))


def test_a_model_whose_weights_are_bfloat16_trains():
    model = safr.attach(tiny_family("llama"), BOTH_LOSSES)
    inputs = {**batch(family="llama"), "labels": LABELS}
    terms, _ = terms_and_gradients(model, inputs, "cuda")
    rounded, gradients = terms_and_gradients(model.to(torch.bfloat16), inputs, "cuda")
    assert rounded == pytest.approx(terms, rel=0.1)
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("estimator", ["exact", "probes", "auto"])
def test_no_step_waits_for_the_gpu(tmp_path, estimator):
    """Reading a number of a step would stop the processor until the GPU has finished the step."""

    class Watch(TrainerCallback):
        steps = 0

        def on_step_begin(self, args, state, control, model=None, **kwargs):
            assert model.device.type == "cuda"
            if state.global_step:  # the first step sets up what torch keeps
                torch.cuda.set_sync_debug_mode("error")

        def on_step_end(self, args, state, control, **kwargs):
            torch.cuda.set_sync_debug_mode("default")
            self.steps += 1

    watch = Watch()
    settings = tiny.settings("safr").changed(interaction_estimator=estimator)
    try:
        train(settings, tiny.dataset(), tmp_path / "run", callbacks=[watch])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert watch.steps > 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_is_trained_and_evaluated_on_the_gpu_as_the_processor_would(tmp_path, precision):
    run = train(tiny.settings("safr").changed(precision=precision), tiny.dataset(), tmp_path / "run")
    assert all(np.isfinite(line["importance"]) for line in run.history)
    scores = {}
    for device in ("cuda", "cpu"):
        model, _ = run.load_model(device=device)
        assert model.device.type == device
        evaluate(run, tiny.dataset(), device=device)
        scores[device] = json.loads(run.scores_file.read_text())
    for name in ("accuracy", "classes", "deletion", "srs", "capacity", "audit"):
        assert flatten(scores["cuda"][name]) == pytest.approx(flatten(scores["cpu"][name]), rel=1e-3, abs=1e-4)


def flatten(value):
    """Numbers of a JSON value, in order."""
    if isinstance(value, dict):
        return [number for each in value.values() for number in flatten(each)]
    if isinstance(value, list):
        return [number for each in value for number in flatten(each)]
    return [value] if isinstance(value, int | float) else []


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("random", "smooth_grad")])
def test_every_attribution_method(name):
    """Methods that sample words draw on the processor, so that they draw the same; SmoothGrad's noise is the GPU's."""
    model, words = tiny.model(tiny.REGULARIZATIONS["safr"]), tiny.tokenizer()
    texts = encode(words, ["the film was a lovely dull plot", "a weak scene"])
    on_cpu = METHODS[name].score(model, texts)
    on_gpu = METHODS[name].score(model.to("cuda"), texts)
    for gpu_scores, scores in zip(on_gpu, on_cpu, strict=True):
        np.testing.assert_allclose(gpu_scores, scores, rtol=2e-3, atol=1e-4)


def test_explanations_one_by_one_and_as_a_list():
    model, words, text = tiny.model(tiny.REGULARIZATIONS["safr"]), tiny.tokenizer(), "the film was a lovely dull plot"
    on_cpu = safr.explain(model, words, text)
    on_gpu = safr.explain(model.to("cuda"), words, text)
    for explained in (on_gpu, *safr.explain(model, words, [text] * 3)):
        np.testing.assert_allclose(explained.capacity, on_cpu.capacity, rtol=1e-4)
        assert explained.probability == pytest.approx(on_cpu.probability, rel=1e-4)


@pytest.mark.slow
def test_the_commands_on_a_gpu(tmp_path, capsys):
    run, data = str(tmp_path / "run"), write_task("pairs", tmp_path / "pairs.csv")
    sizes = ["--width", "16", "--heads", "2", "--feed-forward", "32", "--epochs", "2"]
    for command in (
        ["train", "--data", str(data), "--output", run, *sizes, *OPTIONS["pairs"]],
        ["evaluate", run],
        ["explain", run, "a dog waits", "there is an animal"],
        ["benchmark", run, "--texts", "20"],
        ["report", run, "--output", str(tmp_path / "report.html")],
    ):
        assert main(command) == 0, capsys.readouterr().err


def test_predictions_come_back_to_the_processor():
    texts = ["a lovely film", "a dull plot"]
    encoded = encode(tiny.tokenizer(), texts)
    model = tiny.model()
    on_cpu = predict(model, encoded)
    assert (predict(model.to("cuda"), encoded) == on_cpu).all()
