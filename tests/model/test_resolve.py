import pytest
from transformers import BertConfig, BertForSequenceClassification

from safr.config import Regularization
from safr.errors import InputError
from safr.model.resolve import reads_attention, resolve_auto


def bert(*, pretrained, layers=6):
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=40, num_hidden_layers=layers, **sizes)
    config.name_or_path = "some/bert" if pretrained else ""
    return BertForSequenceClassification(config)


def test_a_model_that_learns_from_nothing_gets_the_papers_form():
    found = resolve_auto(Regularization(), bert(pretrained=False))
    assert (found.importance_sites, found.token_weighting, found.scale_free) == (("vmask",), "equal", False)
    assert (found.site, found.vmask_keep, found.warmup_steps) == ("fc1.0", None, 0)
    assert resolve_auto(Regularization(vmask=False), bert(pretrained=False)).importance_sites == ("embedding",)


@pytest.mark.parametrize(
    ("layers", "asked", "sites", "site"),
    [
        (6, "all", ("fc1.3", "fc1.4", "fc1.5"), "fc1.4"),
        (2, "all", ("fc1.1",), "fc1.1"),
        (1, "all", ("fc1.0",), "fc1.0"),
        (6, (0, 2), ("fc1.2",), "fc1.2"),
        (6, -1, ("fc1.5",), "fc1.5"),
    ],
)
def test_pretrained_weights_are_read_in_the_upper_half_of_the_layers(layers, asked, sites, site):
    found = resolve_auto(Regularization(layers=asked), bert(pretrained=True, layers=layers))
    assert (found.importance_sites, found.token_weighting, found.scale_free) == (sites, "attention", True)
    assert (found.site, found.vmask_keep, found.warmup_steps) == (site, 0.97, 200)
    assert resolve_auto(Regularization(warmup_steps=7), bert(pretrained=True)).warmup_steps == 7


def test_sites_that_are_named_keep_the_papers_weights():
    found = resolve_auto(Regularization(importance_sites="vmask", vmask_keep=0.9), bert(pretrained=True))
    assert (found.importance_sites, found.token_weighting, found.scale_free) == (("vmask",), "equal", False)
    assert (found.site, found.vmask_keep) == ("fc1.0", 0.9)


def test_a_site_without_a_layer_stands_for_it_at_every_chosen_one():
    settings = Regularization(importance_sites=("vmask", "fc1", "fc1_out.5"), layers=(1, -2))
    assert resolve_auto(settings, bert(pretrained=True)).importance_sites == ("vmask", "fc1.1", "fc1.4", "fc1_out.5")


def test_an_explaining_site_that_is_named_stays():
    assert resolve_auto(Regularization(site="fc1_out.2"), bert(pretrained=True)).site == "fc1_out.2"


def test_without_an_importance_loss_the_first_layer_explains():
    assert resolve_auto(Regularization(importance=0), bert(pretrained=True)).site == "fc1.0"


@pytest.mark.parametrize("pretrained", [False, True])
@pytest.mark.parametrize("settings", [Regularization(), Regularization(importance_sites=("fc1", "vmask"), layers=-1)])
def test_settled_settings_stay_as_they_are(settings, pretrained):
    model = bert(pretrained=pretrained)
    once = resolve_auto(settings, model)
    assert resolve_auto(once, model) == once


def test_what_reads_attention_is_known():
    model = bert(pretrained=False)
    assert reads_attention(resolve_auto(Regularization(), model))
    assert not reads_attention(resolve_auto(Regularization(interaction=0), model))
    weighted = Regularization(interaction=0, importance_sites="fc1", token_weighting="attention")
    assert reads_attention(resolve_auto(weighted, model))


def test_where_attention_cannot_be_seen_auto_does_not_need_it():
    model = bert(pretrained=True)
    model._can_set_attn_implementation = lambda: False
    assert resolve_auto(Regularization(), model).token_weighting == "equal"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 6}, "`layers` must be 'all' or numbers from -6 to 5 for this model, got 6"),
        ({"importance_sites": "fc3"}, r"`importance_sites` must be auto, vmask, fc1, fc1.3, fc1_out, fc2 .* got 'fc3'"),
        ({"importance_sites": "attention"}, "`importance_sites` must be auto, .* got 'attention'"),
        (
            {"importance_sites": "fc1.6"},
            r"`importance_sites` must name a layer of this model, fc1.0 to fc1.5, got 'fc1.6'",
        ),
        (
            {"importance_sites": "fc2.-1"},
            r"`importance_sites` must name a layer of this model, fc2.0 to fc2.5, got 'fc2.-1'",
        ),
        ({"importance_sites": "fc1.last"}, r"`importance_sites` must name a layer of this model, .* got 'fc1.last'"),
        ({"importance_sites": "vmask.0"}, "`importance_sites`: vmask is of no layer, got 'vmask.0'"),
        ({"site": "fc1"}, "`site` must name a layer of this model, fc1.0 to fc1.5, got 'fc1'"),
        ({"site": "fc1_out.6"}, "`site` must name a layer of this model, fc1_out.0 to fc1_out.5, got 'fc1_out.6'"),
        ({"site": "vmask.0"}, "`site`: vmask is of no layer, got 'vmask.0'; leave out .0"),
        ({"site": "attention.0"}, "`site` must be auto or a site such as fc1.0, .* got 'attention.0'"),
        ({"site": "fc9"}, "`site` must be auto or a site such as fc1.0, .* got 'fc9'"),
        (
            {"importance_sites": "vmask", "token_weighting": "attention"},
            "`token_weighting='attention'` needs sites of a layer, such as fc1, got vmask",
        ),
    ],
)
def test_what_the_model_does_not_have_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        resolve_auto(Regularization(**settings), bert(pretrained=True))


def test_weights_that_can_not_work_are_refused():
    with pytest.raises(InputError, match="vectors that grow would lower the loss for ever"):
        Regularization(token_weighting="attention", scale_free=False)
    with pytest.raises(InputError, match="needs `vmask`, which gives the keep probabilities"):
        Regularization(token_weighting="keep", vmask=False)
