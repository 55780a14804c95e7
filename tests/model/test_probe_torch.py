"""Modules of torch, against loss.backward(); conftest.py leaves this file out where torchax is not installed."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torchax
from torch import nn
from torch.nn import functional

import varprobe as vp
from varprobe.__main__ import main
from varprobe.model.adapters import subject_of

torch.manual_seed(0)
X, Y, TARGET = torch.randn(16, 6), torch.arange(16) % 3, torch.randn(16, 3)
SEQUENCE, IMAGES, TOKENS = torch.randn(4, 5, 8), torch.randn(2, 3, 8, 8), torch.arange(20).view(4, 5) % 10


class Net(nn.Module):
    """Batch norm, dropout, a buffer, and a tensor that is neither parameter nor buffer."""

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.first, self.norm, self.drop = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(rate)
        self.hidden = nn.ModuleList([nn.Linear(8, 8) for _ in range(2)])
        self.head, self.scale = nn.Linear(8, 3), torch.tensor([2.0])
        self.register_buffer("shift", torch.full((8,), 0.1))

    def forward(self, x: Any) -> Any:
        x = self.drop(functional.relu(self.norm(self.first(x)))) * self.scale + self.shift
        for layer in self.hidden:
            x = functional.relu(layer(x))
        return self.head(x)


class Written(nn.Module):
    """forward(*batch) = function(modules, *batch)."""

    def __init__(self, function: Callable[..., Any], *modules: nn.Module) -> None:
        super().__init__()
        self.function, self.modules_ = function, nn.ModuleList(modules)

    def forward(self, *batch: Any) -> Any:
        return self.function(self.modules_, *batch)


class Causal(nn.Module):
    """Tied embeddings, a mask in a buffer, and positions made in the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place, self.qkv = nn.Embedding(10, 8), nn.Embedding(5, 8), nn.Linear(8, 24)
        self.register_buffer("mask", torch.ones(5, 5).tril().bool())
        self.head = nn.Linear(8, 10, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Any) -> Any:
        x = self.embed(tokens) + self.place(torch.arange(tokens.shape[1]))
        q, k, v = (part.view(*x.shape[:2], 2, 4).transpose(1, 2) for part in self.qkv(x).split(8, 2))
        logits = (q @ k.transpose(-2, -1) / 2).masked_fill(~self.mask, float("-inf"))
        return self.head(x + (logits.softmax(-1) @ v).transpose(1, 2).flatten(2))


def own(output: Any, target: Any) -> Any:
    return functional.smooth_l1_loss(output, target) + torch.zeros(1).sum()


def plain(module: Any, loss: Callable[..., Any], *batch: Any) -> tuple[Any, dict[str, Any]]:
    """(loss, gradients by name) of torch itself, whose buffers are left as they were."""
    held = {name: tensor.clone() for name, tensor in module.named_buffers()}
    module.zero_grad()
    value = loss(*batch)
    value.backward()
    for name, tensor in module.named_buffers():
        tensor.copy_(held[name])
    return value.item(), {name: p.grad.numpy() for name, p in module.named_parameters() if p.grad is not None}


def same(ds: Any, value: Any, slopes: dict[str, Any]) -> None:
    """The loss and the mean square of every gradient; a bias before batch norm has none but rounding."""
    np.testing.assert_allclose(ds.loss_value.values, value, rtol=1e-5)
    assert set(ds.parameter.values) == set(slopes)
    for name, level in zip(ds.parameter.values, ds.parameter_gradient_log10_mean_square.values[0, 0], strict=True):
        np.testing.assert_allclose(10**level, np.mean(slopes[name] ** 2.0), rtol=1e-3, atol=1e-13, err_msg=name)


CASES = {
    "mse": ("mse", functional.mse_loss, TARGET),
    "cross_entropy": ("cross_entropy", functional.cross_entropy, Y),
    "own": (own, own, TARGET),
    "a module": (nn.CrossEntropyLoss(label_smoothing=0.1), nn.CrossEntropyLoss(label_smoothing=0.1), Y),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_backward(name: str) -> None:
    """In train and eval mode; names are those of named_parameters, and the module stays as it is."""
    module, (loss, by_hand, target) = Net(), CASES[name]
    for training in (True, False):
        module.train(training)
        before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
        same(vp.probe(module, X, target, loss=loss), *plain(module, lambda x, y: by_hand(module(x), y), X, target))
        assert module.training == training and all(p.is_leaf for p in module.parameters())
        for key, tensor in module.state_dict().items():
            assert torch.equal(tensor, before[key]), key


def tensor_of(rule: Callable[[Any], Any], module: Any, x: Any) -> Any:
    with torch.no_grad():
        return rule(module(x))


ADD = lambda m, x: m[1](tensor_of(torch.tanh, m[0], x) + m[0](x))  # noqa: E731
SHIFTED = lambda m, x: torch.cat([torch.zeros(4, 1, 8), m[0](x)[:, :-1]], 1) * torch.tensor(0.5)  # noqa: E731
MODULES = {
    "attention": (Written(lambda m, x: m[0](x, x, x)[0], nn.MultiheadAttention(8, 2, batch_first=True)), (SEQUENCE,)),
    "lstm": (Written(lambda m, x: m[0](x)[0], nn.LSTM(8, 6, batch_first=True)), (SEQUENCE,)),
    "transformer": (nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), (SEQUENCE,)),
    "images": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 4, 2), nn.GroupNorm(2, 4), nn.GELU(), nn.Flatten(), nn.Linear(16, 3)), (IMAGES,)),
    "causal": (Causal(), (TOKENS,)),
    "two arguments": (nn.Bilinear(8, 8, 3), (SEQUENCE, SEQUENCE.flip(0))),
    "a tuple": (Written(lambda m, pair: m[0](pair[0]) * pair[1], nn.Linear(8, 8)), ((SEQUENCE, SEQUENCE.flip(0)),)),
    "a mapping": (Written(lambda m, x: OrderedDict(logits=m[0](x), hidden=x), nn.Linear(8, 8)), (SEQUENCE,)),
    "weight norm": (nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)), (SEQUENCE,)),
    "no_grad": (Written(ADD, nn.Linear(8, 8), nn.Linear(8, 3)), (SEQUENCE,)),
    "new tensors": (Written(SHIFTED, nn.Linear(8, 8)), (SEQUENCE,)),
    "float64": (nn.Linear(8, 3).double(), (SEQUENCE.double(),)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_the_random_cotangent_gives_the_gradients_of_torch(name: str) -> None:
    module, batch = MODULES[name]
    subject = subject_of(module, batch, "cotangent")
    (value, _), slopes = jax.jit(jax.value_and_grad(subject.function, has_aux=True))(subject.parameters, *subject.batch)

    def against_noise(*batch: Any) -> Any:
        output = module(*batch)
        output = output["logits"] if isinstance(output, dict) else output
        noise = jax.random.normal(jax.random.fold_in(jax.random.key(0), 0), tuple(output.shape), jnp.float32)
        return (output * torch.tensor(np.asarray(noise))).sum()

    expected, by_name = plain(module, against_noise, *batch)
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
    assert set(slopes) == set(by_name) == set(dict(module.named_parameters()))
    largest = max(abs(slope).max() for slope in by_name.values())
    for key, slope in by_name.items():
        np.testing.assert_allclose(slopes[key], slope, rtol=1e-4, atol=1e-5 * largest, err_msg=key)


def test_sites_have_the_names_and_values_of_modules() -> None:
    module = Net().eval()
    ds = vp.probe(module, X)
    assert ds.site.values.tolist() == ["input", "first", "norm", "hidden/0", "hidden/1", "head"]
    assert ds.attrs["coverage"] == "4 of 4 matrix products probed" and ds.arch.values.tolist() == ["Net"]
    expected = np.log10(np.mean(module.first(X).detach().numpy() ** 2.0))
    np.testing.assert_allclose(ds.preactivation_log10_mean_square.values[0, 0, 1], expected, atol=1e-5)
    nested = nn.Sequential(nn.Sequential(nn.Linear(6, 8), nn.Tanh()), nn.Linear(8, 3))
    assert vp.probe(nested, X).site.values.tolist() == ["input", "0/0", "1"]


def test_dropout_is_on_in_train_mode_only() -> None:
    """Ones that are kept with probability 1/4 are fours; the mask is the same each time."""
    module = nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.75))
    nn.init.constant_(module[0].weight, 1 / 64)
    nn.init.zeros_(module[0].bias)

    def loss(training: bool) -> float:
        found = vp.probe(module.train(training), torch.ones(64, 64), torch.zeros(64, 64), loss="mse")
        return float(found.loss_value.values.item())

    kept = loss(True) * 64**2 / 16
    assert loss(False) == pytest.approx(1) and kept == pytest.approx(round(kept)) and abs(kept - 1024) < 150
    assert kept == loss(True) * 64**2 / 16


def test_each_seed_has_a_fresh_module() -> None:
    def fresh(key: Any) -> Net:
        torch.manual_seed(int(jax.random.bits(key)))
        return Net()

    ds = vp.probe(Net(), X, init=fresh, seeds=2)
    weights = [fresh(jax.random.key(seed)).head.weight.detach().numpy() for seed in range(2)]
    expected = [np.log10(np.mean(weight**2)) for weight in weights]
    np.testing.assert_allclose(
        ds.parameter_log10_mean_square.sel(parameter="head.weight").values[0], expected, atol=1e-5
    )
    assert expected[0] != expected[1]


def test_parameters_without_gradient_are_sites_without_parameters() -> None:
    module = Net().eval()
    module.hidden[0].requires_grad_(False)
    ds = vp.probe(module, X, TARGET, loss="mse")
    assert ds.site.values[3] == "hidden/0" and "hidden.0.weight" not in ds.parameter.values
    same(ds, *plain(module, lambda x, y: functional.mse_loss(module(x), y), X, TARGET))


def test_a_function_of_a_module() -> None:
    """It is written in torch; arrays of NumPy and JAX serve as tensors do."""

    def penalized(module: Any, x: Any, y: Any) -> Any:
        return functional.cross_entropy(module(x), y) + sum(p.square().sum() for p in module.parameters())

    module = Net().eval()
    value, slopes = plain(module, lambda x, y: penalized(module, x, y), X, Y)
    same(vp.probe(penalized, module, X.numpy(), jnp.asarray(Y.numpy())), value, slopes)
    same(
        vp.probe(penalized, torch.compile(module), X, Y), value, {f"_orig_mod.{name}": g for name, g in slopes.items()}
    )


def test_training_is_recorded_through_extract_jax() -> None:
    module = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    parameters, forward = torchax.extract_jax(module)

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        return jnp.mean((forward(parameters, (x,)) - y) ** 2)

    value, slopes, stats = jax.jit(vp.instrument(loss))(parameters, jnp.asarray(X.numpy()), jnp.asarray(TARGET.numpy()))
    expected, by_name = plain(module, lambda x, y: functional.mse_loss(module(x), y), X, TARGET)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for name, slope in by_name.items():
        np.testing.assert_allclose(slopes[name], slope, rtol=1e-4, atol=1e-6)
    assert [row.site for row in stats.layout.rows] == ["0", "2"]


FACTORY = """
import jax, torch
from torch import nn

def make(key):
    torch.manual_seed(int(jax.random.bits(key)))
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    return net, torch.ones(4, 6), torch.arange(4) % 3, {"loss": nn.CrossEntropyLoss()}
"""


def test_a_factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(FACTORY)
    np.save("rows.npy", X.numpy())
    with pytest.raises(SystemExit) as stop:
        main(["probe", "net.py:make", "--seeds", "2", "--data", "rows.npy", "--out", "run"])
    assert stop.value.code == 0, capsys.readouterr()
    ds = vp.open_run("run")
    assert ds.attrs["coverage"] == "2 of 2 matrix products probed" and ds.loss.values.tolist() == ["CrossEntropyLoss"]
    np.testing.assert_allclose(
        ds.activation_log10_mean_square.values[0, :, 0], np.log10(np.mean(X[:4].numpy() ** 2)), atol=1e-5
    )
    assert len({*ds.parameter_log10_mean_square.values[0, :, -1]}) == 2


class Rounded(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Any) -> Any:
        return x.round()

    @staticmethod
    def backward(context: Any, slope: Any) -> Any:
        return slope


def cast(module: Any, x: Any) -> Any:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return module(x)


def test_messages() -> None:
    module = Net()
    way = "Net is a model of torch and no pytree of arrays: torchax.extract_jax"
    wrong: dict[str, Callable[[], Any]] = {
        way: lambda: vp.probe(lambda w, x, module: x @ w, TARGET.numpy().T, TARGET.numpy(), module),
        f"{way}(": lambda: vp.instrument(lambda module, x: module(x).sum())(module, X),
        f"{way}(m": lambda: vp.track(lambda m, x: m(x).sum(), params=module, optimizer="sgd", batches=X, steps=1),
        "0.weight has no shape yet: call the module on a batch": lambda: vp.probe(nn.Sequential(nn.LazyLinear(3)), X),
        "init: init returns dict (allowed: a fresh model of torch)": lambda: vp.probe(module, X, init=lambda key: {}),
        "Rounded is a torch.autograd.Function, whose backward": lambda: vp.probe(lambda m, x: Rounded.apply(m(x)), module, X, loss="cotangent"),
        "torchax does not follow torch.autocast": lambda: vp.probe(cast, module, X, loss="cotangent"),
        "<lambda> is not traceable by jax: test_probe_torch.py:": lambda: vp.probe(lambda m, x: m(x) if m(x).sum() > 0 else x, module, X, loss="cotangent"),
        "unknown loss 'crossentropy'": lambda: vp.probe(module, X, Y, loss="crossentropy"),
    }  # fmt: skip
    for message, call in wrong.items():
        with pytest.raises(vp.InvalidArgumentError) as error:
            call()
        assert message in str(error.value) and "\n" not in str(error.value), message
    assert torch.equal(Rounded.apply(X), X.round())


def test_a_torchax_that_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any, **options: Any) -> Any:
        raise AttributeError("no overload")

    monkeypatch.setattr("varprobe.model.bridges.needed", fails)
    with pytest.raises(
        vp.InvalidArgumentError, match=r"with torch 2\..*: pip install --upgrade --pre torchax \(no overload\)$"
    ):
        vp.probe(Net(), X)


def test_errors_of_a_module_have_its_own_line_first() -> None:
    def broken(module: Any, x: Any) -> Any:
        raise KeyError("no such head")

    with pytest.raises(KeyError, match="no such head") as error:
        vp.probe(broken, Net(), X, loss="cotangent")
    assert error.traceback[-1].name == "broken" and len(error.traceback) == 4
