"""Whatever trains the model, the loss and the gradient are those of one plain step over the same texts."""

import copy
import gc
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn import functional as F
from transformers import Trainer, TrainingArguments

from safr.config import Regularization
from safr.errors import InputError
from safr.model.attach import attach, detach
from safr.model.regularizer import get_regularizer
from safr.model.save import load, save
from safr.model.trace import trace
from tests.model.families import batch, tiny
from tests.model.two_processes import Expected

LABELS = torch.tensor([0, 1, 1])
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
WEIGHTS = Regularization(importance=0.5, interaction=0.25, information=0.125)


def sure(model):
    """The same model without chance: no dropout, and the mask lets through what it expects to."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    model.safr.vmask.__class__ = Expected
    return model.train()


def rows(count, *, language=False, length=6):
    ids = [torch.randint(3, 40, (length,), generator=torch.Generator().manual_seed(n)) for n in range(count)]
    return [{"input_ids": each, "labels": each if language else n % 2} for n, each in enumerate(ids)]


def together(some):
    return {
        "input_ids": torch.stack([each["input_ids"] for each in some]),
        "labels": torch.stack([torch.as_tensor(each["labels"]) for each in some]),
    }


def trained(model, data, folder, **options):
    """The weights after one optimizer step of the Trainer over all the data."""
    arguments = {
        "output_dir": str(folder),
        "max_steps": 1,
        "learning_rate": 1.0,
        "optim": "sgd",
        "max_grad_norm": 0,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_strategy": "no",
        "per_device_train_batch_size": len(data),
        "dataloader_pin_memory": False,
        "seed": 0,
    }
    Trainer(model=model, args=TrainingArguments(**{**arguments, **options}), train_dataset=data).train()
    return weights(model)


def stepped(model, data):
    """The weights after one plain step over all the data."""
    model(**together(data)).loss.backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight -= 0 if weight.grad is None else weight.grad
    return weights(model)


def weights(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def assert_same(found, expected, start, tolerance=1e-5):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance, msg=name)
    assert any(not torch.equal(value, start[name]) for name, value in expected.items() if name.startswith("safr"))


def language_model():
    return tiny("llama", "CausalLM")


@pytest.mark.parametrize("size", [8, 2])
@pytest.mark.parametrize(("family", "head"), [("paper", ""), ("bert", "SequenceClassification"), ("bert", "MaskedLM")])
def test_the_trainer_takes_the_step_of_a_plain_loop_also_in_parts(family, head, size, tmp_path):
    start, data = sure(attach(tiny(family, head), WEIGHTS)), rows(8, language=head == "MaskedLM")
    expected = stepped(copy.deepcopy(start), data)
    accumulated = {"per_device_train_batch_size": size, "gradient_accumulation_steps": 8 // size}
    found = trained(copy.deepcopy(start), data, tmp_path, **accumulated)
    assert_same(found, expected, weights(start))


def test_a_language_models_parts_count_by_their_tokens(tmp_path):
    start = sure(attach(language_model(), WEIGHTS))
    data = rows(4, language=True)
    for each, length in zip(data, (6, 3, 5, 2), strict=True):  # tokens whose prediction counts
        each["labels"] = each["labels"].clone()
        each["labels"][length:] = -100
    found = trained(
        copy.deepcopy(start), data, tmp_path, per_device_train_batch_size=1, gradient_accumulation_steps=4,
        train_sampling_strategy="sequential",
    )  # fmt: skip
    items = sum(int((each["labels"][1:] != -100).sum()) for each in data)
    model, loss = copy.deepcopy(start), 0.0
    for each in data:
        part = model(**together([each])).loss  # a mean over this text's tokens
        loss = loss + part * int((each["labels"][1:] != -100).sum()) / items
    loss.backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight -= 0 if weight.grad is None else weight.grad
    assert_same(found, weights(model), weights(start))


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("language", [False, True])
def test_label_smoothing_keeps_the_regularizers(language, parts, tmp_path):
    start = sure(attach(language_model() if language else tiny("bert"), WEIGHTS))
    data = rows(8, language=language)
    accumulated = {"per_device_train_batch_size": 8 // parts, "gradient_accumulation_steps": parts}
    found = trained(copy.deepcopy(start), data, tmp_path, label_smoothing_factor=0.1, **accumulated)
    model, inputs = copy.deepcopy(start), together(data)
    output = model(input_ids=inputs["input_ids"])
    logits, labels = output.logits, inputs["labels"]
    if language:
        logits, labels = logits[:, :-1], labels[:, 1:]
    smoothed = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), label_smoothing=0.1)
    (smoothed + output.regularization).backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight -= 0 if weight.grad is None else weight.grad
    assert_same(found, weights(model), weights(start))


def test_a_loss_of_ones_own_adds_the_regularizers_by_name():
    model, inputs = sure(attach(tiny("bert"), WEIGHTS)), batch()
    own = model(**inputs)
    torch.testing.assert_close(
        F.cross_entropy(own.logits, LABELS) + own.regularization, model(**inputs, labels=LABELS).loss
    )


def test_a_loss_of_ones_own_that_leaves_them_out_is_refused_at_the_next_step():
    model, inputs = attach(tiny("bert"), WEIGHTS).train(), batch()
    outputs = model(**inputs)
    F.cross_entropy(outputs.logits, LABELS).backward()
    with pytest.raises(InputError, match=r"left SAFR's regularizers out; add `outputs.regularization` to it"):
        outputs = model(**inputs)
    outputs = model(**inputs)
    (F.cross_entropy(outputs.logits, LABELS) + outputs.regularization).backward()
    model(**inputs)


def test_passes_that_wait_for_their_backward_are_no_mistake():
    model, inputs = attach(tiny("bert"), WEIGHTS).train(), batch()

    def loss(outputs):
        return F.cross_entropy(outputs.logits, LABELS) + outputs.regularization

    (loss(model(**inputs)) + loss(model(**inputs))).backward()  # outputs are gone before the backward pass
    model(**inputs)  # nobody asks for a gradient
    trace(model, inputs)
    copied = copy.deepcopy(model)
    pickle.dumps(model)
    loss(copied(**inputs)).backward()
    loss(model(**inputs)).backward()


@pytest.mark.parametrize("family", ["bert", "deberta", "mpnet"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_the_losses_by_rounding_only(family, dtype):
    model, inputs = sure(attach(tiny(family), WEIGHTS)), batch()
    exact = {name: float(value) for name, value in terms(model, inputs).items()}
    with torch.autocast("cpu", dtype):
        rough = terms(model, inputs)
    for name, value in rough.items():
        assert value.dtype == torch.float32
        assert float(value) == pytest.approx(exact[name], rel=0.03, abs=1e-3), name
    model.zero_grad()
    with torch.autocast("cpu", dtype):
        loss = model(**inputs, labels=LABELS).loss
    loss.backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())


def terms(model, inputs):
    model(**inputs, labels=LABELS)
    return dict(get_regularizer(model).terms)


@pytest.mark.parametrize("family", ["bert", "deberta", "deberta_v1", "llama", "t5", "modernbert"])
def test_activation_checkpointing_changes_neither_the_losses_nor_the_gradient(family):
    everywhere = Regularization(0.5, 0.25, importance_sites=("vmask", "fc1"))
    start, inputs = sure(attach(tiny(family), everywhere)), batch()
    expected, again = copy.deepcopy(start), copy.deepcopy(start)
    again.activation_checkpointing_enable()
    for model in (expected, again):
        model(**inputs, labels=LABELS).loss.backward()
    for name, weight in again.named_parameters():
        other = expected.get_parameter(name).grad
        if other is not None:
            torch.testing.assert_close(weight.grad, other, rtol=1e-5, atol=1e-6, msg=name)
    copy.deepcopy(again)  # nothing of the pass is left on the model
    again.activation_checkpointing_disable()
    torch.testing.assert_close(again(**inputs, labels=LABELS).loss, expected(**inputs, labels=LABELS).loss)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_leaves_nothing_of_its_graph_behind(checkpointing):
    weighted = Regularization(0.5, 0.25, 0.125, importance_sites=("fc1", "fc1_out"), token_weighting="keep")
    model, inputs = attach(tiny("bert"), weighted).train(), batch()
    if checkpointing:
        model.activation_checkpointing_enable()
    alive = []
    gc.collect()
    gc.disable()  # what only the collector of cycles can find is memory that grows from step to step
    try:
        for _ in range(4):
            model(**inputs, labels=LABELS).loss.backward()
            alive.append(sum(type(each) is torch.Tensor and each.grad_fn is not None for each in gc.get_objects()))
    finally:
        gc.enable()
    assert alive[0] == alive[-1]


def test_the_trainer_checkpoints_too(tmp_path):
    start, data = sure(attach(tiny("bert"), WEIGHTS)), rows(4)
    expected = stepped(copy.deepcopy(start), data)
    found = trained(copy.deepcopy(start), data, tmp_path, activation_checkpointing=True)
    assert_same(found, expected, weights(start))


def test_accelerate_takes_the_step_of_a_plain_loop():
    start, data = sure(attach(tiny("bert"), WEIGHTS)), rows(4)
    expected = stepped(copy.deepcopy(start), data)
    accelerator = Accelerator(cpu=True)
    plain = torch.optim.SGD(start.parameters(), lr=1.0)
    before = weights(start)
    model, optimizer = accelerator.prepare(start, plain)
    accelerator.backward(model(**together(data)).loss)
    optimizer.step()
    assert_same(weights(accelerator.unwrap_model(model)), expected, before)


# peft asks every model for a property that transformers has renamed.
of_peft = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")

LORA = {"target_modules": ["query", "intermediate.dense"], "modules_to_save": ["classifier"], "r": 2}


def adapted(order):
    model = tiny("bert")
    if order == "on top of SAFR":
        attach(model, WEIGHTS)
    lora = get_peft_model(model, LoraConfig(**LORA, init_lora_weights=False))
    if order == "below SAFR":
        attach(lora, WEIGHTS)
    else:
        lora.safr.requires_grad_(True)
    return lora


@of_peft
@pytest.mark.parametrize("order", ["on top of SAFR", "below SAFR"])
def test_lora_trains_with_the_mask_and_the_recorded_layer_is_the_adapted_one(order):
    model, inputs = adapted(order).eval(), batch()
    seen = {}
    layer = model.get_base_model().bert.encoder.layer[0].intermediate.dense
    layer.register_forward_hook(lambda _, args, output: seen.setdefault("fc1", output))
    assert type(layer).__module__.startswith("peft")
    recorded = trace(model, inputs, ["fc1", "attention"])
    assert torch.equal(recorded.site("fc1.0"), seen["fc1"])
    loss = model.train()(**inputs, labels=LABELS).loss
    assert set(get_regularizer(model).terms) == {"task", "importance", "interaction", "information"}
    loss.backward()
    trained_names = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert any("lora_A" in name for name in trained_names)
    assert any("vmask.inner" in name for name in trained_names)
    assert not any("word_embeddings" in name for name in trained_names)
    detach(model)
    assert get_regularizer(model) is None


@of_peft
@pytest.mark.parametrize("copied", ["word_embeddings", "intermediate.dense"])
@torch.no_grad()
def test_modules_that_adapters_copy_are_masked_and_recorded_once(copied, tmp_path):
    model = attach(tiny("bert"), WEIGHTS).eval()
    before = model(**batch()).logits
    lora = get_peft_model(model, LoraConfig(target_modules=["query"], modules_to_save=[copied], r=2)).eval()
    # A copied matrix lies elsewhere in memory, which changes the last bits on some processors.
    torch.testing.assert_close(lora(**batch()).logits, before, rtol=0, atol=1e-6)
    assert list(trace(lora, batch(), ["fc1"]).vectors) == ["fc1.0", "fc1.1"]
    torch.testing.assert_close(load(save(lora, tmp_path / "model"))(**batch()).logits, before)


@of_peft
def test_adapters_that_froze_the_mask_are_refused():
    model = get_peft_model(attach(tiny("bert"), WEIGHTS), LoraConfig(**LORA))
    with pytest.raises(InputError, match=r"the adapters have frozen VMASK .* model.safr.requires_grad_\(True\)"):
        model.train()(**batch(), labels=LABELS)
    model.eval()(**batch())


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    launchers = {one: [], two: ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]}
    for processes, (folder, launcher) in enumerate(launchers.items(), start=1):
        folder.mkdir()
        command = [sys.executable, *launcher, "tests/model/two_processes.py", str(folder), str(processes), "0.0", "0.1"]
        done = subprocess.run(command, check=False, capture_output=True, cwd=ROOT, env=ENVIRONMENT)
        assert done.returncode == 0, done.stderr.decode()
    # Three steps' loss and terms, and two numbers of an evaluation; a loss made outside the model is not the task's.
    for smoothing, logged in (("0.0", 3 * 5 + 2), ("0.1", 3 * 4)):
        found, expected = (torch.load(folder / f"{smoothing}.pt") for folder in (two, one))
        assert found["losses"] == pytest.approx(expected["losses"], abs=1e-5)
        assert len(found["losses"]) == logged
        assert_same(found["weights"], expected["weights"], {name: torch.zeros(()) for name in expected["weights"]})


COMPILED_FAMILIES = ("bert", "deberta", "mpnet")


@pytest.fixture(scope="module")
def compiled_families():
    """What goes wrong with each family that is compiled, or None.

    In a process of its own, since the compiler can't read through the checks of array shapes that tests run with.
    """
    command = [sys.executable, "-c", COMPILED, *COMPILED_FAMILIES]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("family", COMPILED_FAMILIES)
def test_a_compiled_model_computes_the_same_loss_and_gradient(compiled_families, family):
    assert compiled_families[family] is None, compiled_families[family]


COMPILED = """
import copy, json, sys, traceback, torch
from torch import nn
from safr.config import Regularization
from safr.model.attach import attach
from tests.model.families import batch, tiny
from tests.model.two_processes import Expected


def check(family):
    torch.manual_seed(0)
    torch.compiler.reset()
    start = attach(tiny(family), Regularization(0.5, 0.25, 0.125))
    start.safr.vmask.__class__ = Expected
    for module in start.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    start.train()
    expected, again = copy.deepcopy(start), copy.deepcopy(start)
    compiled, inputs, labels = torch.compile(again, backend="aot_eager"), batch(), torch.tensor([0, 1, 1])
    for _ in range(2):
        for model in (expected, again):
            model.zero_grad()
        loss, other = expected(**inputs, labels=labels).loss, compiled(**inputs, labels=labels).loss
        torch.testing.assert_close(other, loss, rtol=1e-5, atol=1e-5)
        assert set(again.safr.terms) == {"task", "importance", "interaction", "information"}
        loss.backward()
        other.backward()
    for name, weight in again.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(weight.grad, expected.get_parameter(name).grad, rtol=1e-5, atol=1e-5, msg=name)


problems = {}
for family in sys.argv[1:]:
    try:
        check(family)
        problems[family] = None
    except Exception:
        problems[family] = traceback.format_exc()
print(json.dumps(problems))
"""


def test_an_output_without_labels_can_be_kept_in_a_file(tmp_path):
    model = attach(tiny("bert"), WEIGHTS).eval()
    output = model(**batch())
    torch.save(output, tmp_path / "output.pt")
    kept = torch.load(tmp_path / "output.pt", weights_only=False)
    assert type(kept).__module__ == "transformers.modeling_outputs"
    assert torch.equal(kept.logits, output.logits)
