import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from transformers import T5ForConditionalGeneration

from safr.attribution.gradients import NOISE_LEVEL, NOISE_SAMPLES, gradient_x_input, integrated_gradients, smooth_grad
from safr.attribution.internals import attention_received, attention_rollout, compute_rollout
from safr.attribution.perturbation import SAMPLES_PER_WORD, kernel_shap, lime, occlusion, shapley
from safr.attribution.registry import (
    ABSOLUTE_PREFIX,
    COSTLY_METHODS,
    METHODS,
    attribute,
    check_methods,
    default_methods,
    get_method,
    is_signed,
)
from safr.config import Regularization
from safr.data.encoding import encode
from safr.errors import InputError
from safr.inference import iter_traces, log_odds, predict, probabilities, text_log_odds
from safr.model.interventions import intervene
from safr.model.trace import trace
from tests import linear, tiny
from tests.tiny_tokenizers import model as build

TEXTS = (
    "a lovely film",
    "the dull story was awful but funny",
    "moving",
    "this plot idea of fresh scene and weak cast",
    "",
)


def encoded(texts=TEXTS):
    return encode(tiny.tokenizer(), texts)


@pytest.fixture(scope="module")
def masked():
    return tiny.model(Regularization(vmask_width=8))


@pytest.mark.parametrize(
    "score", [gradient_x_input, smooth_grad, integrated_gradients, occlusion, shapley, kernel_shap]
)
def test_signed_methods_find_the_true_effects_of_a_linear_model(score):
    model, texts = linear.model(), encoded()
    found = score(model, texts)
    expected = linear.effects(texts, predict(model, texts))
    for own, true in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, true, atol=1e-5)


def test_lime_ranks_words_as_their_true_effects_in_a_linear_model():
    model, texts = linear.model(), [text for text in encoded() if len(text.words) > 4]
    for own, true in zip(lime(model, texts), linear.effects(texts, predict(model, texts)), strict=True):
        assert (np.sign(own[true != 0]) == np.sign(true[true != 0])).all()
        assert np.abs(own[true == 0]).max(initial=0) < np.abs(own[true != 0]).min(initial=1)


def test_kernel_shap_adds_up_to_what_the_words_bring(masked):
    texts = encoded(TEXTS[:6])
    for text, own in zip(texts, kernel_shap(masked, texts), strict=True):
        (whole, nothing) = text_log_odds(
            masked, [text, text.without(range(len(text.words)))], np.repeat(predict(masked, [text]), 2)
        )
        assert own.sum() == pytest.approx(whole - nothing, abs=1e-3)


@pytest.mark.parametrize("score", [kernel_shap, lime])
def test_random_subsets_are_the_same_with_one_seed_and_cost_what_is_said(score, masked):
    texts = encoded(TEXTS[:3])
    before = torch.random.get_rng_state()
    first, again, other = score(masked, texts), score(masked, texts), score(masked, texts, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert any(not np.array_equal(one, two) for one, two in zip(first, other, strict=True))
    passes = attribute(masked, texts, score).forward
    most = SAMPLES_PER_WORD * np.mean([len(text.words) for text in texts])
    assert passes <= most + 2


def test_integrated_gradients_add_up_to_what_the_words_bring(masked):
    texts = encoded(TEXTS[:4])
    scores = integrated_gradients(masked, texts)
    classes = torch.from_numpy(predict(masked, texts))
    for text, own, chosen in zip(texts, scores, classes, strict=True):
        ids = torch.tensor([text.ids])
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.no_grad():
            whole = log_odds(masked, masked(**inputs).logits, chosen[None])
            with intervene(masked, "embedding", torch.zeros_like):
                nothing = log_odds(masked, masked(**inputs).logits, chosen[None])
        assert own.sum() == pytest.approx((whole - nothing).item(), rel=0.02)


def test_gradient_x_input_is_the_slow_gradient(masked):
    (text,) = encoded(["the dull story was awful but funny"])
    ids = torch.tensor([text.ids])
    kept = []

    def keep(vectors):
        kept.append(vectors.detach().requires_grad_())
        return kept[0]

    with intervene(masked, "embedding", keep):
        logits = masked(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    log_odds(masked, logits, logits.argmax(dim=-1)).sum().backward()
    slow = (kept[0].grad * kept[0]).sum(dim=-1)[0].detach().numpy()
    np.testing.assert_allclose(gradient_x_input(masked, [text])[0], slow, rtol=1e-4, atol=1e-7)


def test_smooth_grad_is_a_slow_loop_over_noisy_copies(masked):
    """Without special tokens every vector gets noise; Captum draws that of all copies at once."""
    (text,) = encoded(["the dull story was awful but funny"])
    inputs = {"input_ids": torch.tensor([text.ids]), "attention_mask": torch.ones(1, len(text.ids), dtype=torch.long)}
    seen = trace(masked, inputs, ["vmask"])
    clean, chosen = seen.site("vmask").detach(), seen.logits.argmax(dim=-1)
    copies = clean.repeat_interleave(NOISE_SAMPLES, dim=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        noise = torch.normal(torch.zeros_like(copies), NOISE_LEVEL * (clean.max() - clean.min()))
    gradients = torch.zeros_like(clean)
    for each in noise:
        vectors = (clean + each).requires_grad_()
        with intervene(masked, "embedding", lambda _, vectors=vectors: vectors):
            logits = masked(**inputs).logits
        gradients += torch.autograd.grad(log_odds(masked, logits, chosen).sum(), vectors)[0]
    slow = (gradients / NOISE_SAMPLES * clean).sum(dim=-1)[0].detach().numpy()
    np.testing.assert_allclose(smooth_grad(masked, [text])[0], slow, rtol=1e-3, atol=1e-6)


def test_the_noise_of_smooth_grad_is_a_texts_own_and_leaves_random_numbers_alone(masked):
    texts = encoded()
    before = torch.random.get_rng_state()
    together, again, other = smooth_grad(masked, texts), smooth_grad(masked, texts), smooth_grad(masked, texts, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    for text, one, two in zip(texts, together, again, strict=True):
        assert np.array_equal(one, two)
        assert np.array_equal(one, smooth_grad(masked, [text])[0])
    assert any(not np.array_equal(one, two) for one, two in zip(together, other, strict=True))
    cost = attribute(masked, texts[:1], smooth_grad)
    assert (cost.forward, cost.backward) == (NOISE_SAMPLES + 1, NOISE_SAMPLES)


def test_log_odds_are_those_of_the_probability(masked):
    logits = torch.tensor([[0.3, -1.0, 2.0], [1.0, 1.0, 1.0]])
    share = logits.softmax(dim=-1)[[0, 1], [2, 0]]
    expected = (share / (1 - share)).log()
    torch.testing.assert_close(log_odds(masked, logits, torch.tensor([2, 0])), expected)


def test_log_odds_of_a_model_in_half_precision_are_not_rounded_again(masked):
    logits = torch.tensor([[20.0, 19.0, 18.0]], dtype=torch.bfloat16)
    chosen = torch.tensor([0])
    assert torch.equal(log_odds(masked, logits, chosen), log_odds(masked, logits.float(), chosen))


def test_log_odds_of_classes_that_may_both_be_right_are_their_own():
    model = tiny.model(problem_type="multi_label_classification")
    logits = torch.tensor([[2.0, 3.0, -5.0]])
    share = probabilities(model, logits)[:, 0]
    torch.testing.assert_close(log_odds(model, logits, torch.tensor([0])), (share / (1 - share)).log())


def test_occlusion_is_a_slow_loop_over_deletions(masked):
    texts = encoded(TEXTS[:2])
    classes = predict(masked, texts)
    for text, own, chosen in zip(texts, occlusion(masked, texts), classes, strict=True):
        values = []
        for kept in (text, *(text.without({word}) for word in range(len(text.words)))):
            ids = torch.tensor([kept.ids])
            with torch.no_grad():
                logits = masked(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            values.append(log_odds(masked, logits, torch.tensor([chosen])).item())
        np.testing.assert_allclose(own, values[0] - np.array(values[1:]), atol=1e-5)


def test_rollout_by_hand():
    first = torch.tensor([[[[1.0, 0.0], [0.5, 0.5]]]])
    second = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]])
    mixed = torch.tensor([[0.5, 0.5], [0.5, 0.5]]) @ torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    torch.testing.assert_close(compute_rollout([first, second])[0], mixed)


def test_rollout_is_read_where_the_model_reads(masked, minilm):
    # The paper's transformer takes the mean over all tokens.
    texts = encoded(["the dull story was awful"])
    (_, seen), *_ = iter_traces(masked, texts, ["attention"])
    flow = compute_rollout(list(seen.attention.values()))[0].mean(dim=0)
    np.testing.assert_allclose(attention_rollout(masked, texts)[0], flow.numpy(), atol=1e-6)


def test_attention_received_sums_what_all_tokens_pay(masked):
    texts = encoded(["the dull story was awful"])
    (_, seen), *_ = iter_traces(masked, texts, ["attention"])
    slow = seen.attention[0][0].mean(dim=0).sum(dim=0)
    np.testing.assert_allclose(attention_received(masked, texts)[0], slow.numpy(), atol=1e-6)


def test_every_method_scores_every_word_of_any_text(masked):
    texts = encoded()
    for name in [*default_methods(masked), "shapley", ABSOLUTE_PREFIX + "occlusion", "capacity@fc1_out.0"]:
        scores = get_method(name).score(masked, texts)
        assert [len(each) for each in scores] == [len(text.words) for text in texts], name
        assert all(np.isfinite(each).all() for each in scores), name


def test_passes_are_counted():
    model, texts = tiny.model(Regularization(vmask_width=8)), encoded(TEXTS[:2])
    words = sum(len(text.words) for text in texts)
    costs = {
        name: attribute(model, texts, get_method(name).score) for name in ("capacity", "integrated_gradients", "random")
    }
    assert (costs["capacity"].forward, costs["capacity"].backward) == (1, 0)
    assert (costs["integrated_gradients"].forward, costs["integrated_gradients"].backward) == (51, 50)
    assert costs["random"].forward == 0
    # Texts of their own for the prediction and once more for their log-odds.
    assert attribute(model, texts, METHODS["occlusion"].score).forward == 2 + words / len(texts)
    assert costs["capacity"].seconds > 0


def test_passes_of_threads_on_one_model_are_counted_apart():
    model, texts = tiny.model(Regularization(vmask_width=8)), encoded(TEXTS[:2])
    names = ["capacity", "integrated_gradients", "occlusion", "random"]

    def count(name):
        result = attribute(model, texts, get_method(name).score)
        return result.forward, result.backward

    alone, hooks = [count(name) for name in names], list(model._forward_pre_hooks)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(count, 4 * names)) == 4 * alone
    assert list(model._forward_pre_hooks) == hooks


@pytest.mark.parametrize("kind", ["attribute", "intervene", "trace"])
def test_a_hook_that_is_taken_off_does_not_break_the_call_of_another_thread(kind):
    model, ids = tiny.model(), torch.tensor([[5, 6, 7]])
    expected, found = model(input_ids=ids).logits, []
    entered, taken_off = threading.Event(), threading.Event()
    other = threading.Thread(target=lambda: found.append(model(input_ids=ids).logits))

    def meet(*_):
        """Hold the other thread's call, once it knows which hooks it will call, until they are taken off."""
        if threading.current_thread() is other:
            entered.set()
            assert taken_off.wait(10)
        elif not entered.is_set():
            other.start()
            assert entered.wait(10)

    if kind == "trace":
        model.get_input_embeddings().register_forward_hook(meet)
        trace(model, {"input_ids": ids}, ["embedding"])
    else:
        model.register_forward_pre_hook(meet)
        if kind == "attribute":
            attribute(model, encoded(TEXTS[:1]), lambda *_: meet() or [])
        else:
            with intervene(model, "embedding", torch.zeros_like):
                meet()
    taken_off.set()
    other.join()
    assert torch.equal(found[0], expected)


def test_names_of_methods():
    assert is_signed("occlusion")
    assert not is_signed(f"{ABSOLUTE_PREFIX}occlusion")
    assert not is_signed("lime.parquet")
    for wrong in ("capasity", f"{ABSOLUTE_PREFIX}capacity", ABSOLUTE_PREFIX):
        with pytest.raises(InputError, match="no attribution method is called"):
            get_method(wrong)
    with pytest.raises(InputError, match="keep needs a model with VMASK"):
        get_method("keep").score(tiny.model(), encoded())
    assert "keep" not in default_methods(tiny.model())


@pytest.mark.parametrize(
    ("name", "lack"),
    [
        ("keep", "a model with VMASK, which this one does not have"),
        ("integrated_gradients", "a model without a decoder of its own"),
        (f"{ABSOLUTE_PREFIX}gradient_x_input", "a model without a decoder of its own"),
    ],
)
def test_a_method_that_a_model_does_not_allow_is_named_before_any_is_run(name, lack):
    model, _ = build(T5ForConditionalGeneration)
    with pytest.raises(InputError, match=rf"the method {name} needs {lack}.*; leave it out"):
        check_methods(model, ["occlusion", name])
    assert name not in default_methods(model)
    check_methods(model, default_methods(model))


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
@pytest.mark.parametrize("name", [name for name in METHODS if name not in COSTLY_METHODS])
def test_a_caller_s_mode_without_gradients_changes_nothing(name, mode):
    model = tiny.model(Regularization(vmask_width=8), num_hidden_layers=2)
    texts = encode(tiny.tokenizer(), ["the dull story was awful but funny", "a film"])
    score = get_method(name).score
    with mode():
        found = score(model, texts)
        assert not torch.ones(1, requires_grad=True).square().requires_grad  # the caller's mode is left as it was
    for one, other in zip(found, score(model, texts), strict=True):
        np.testing.assert_array_equal(one, other)
