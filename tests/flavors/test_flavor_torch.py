"""PyTorch for real: exported programs, TorchScript and live modules answer as they do in PyTorch."""

import numpy as np
import pytest
from flavor_harness import after_loading, needs, unpacked

from clipper.errors import InvalidModel

pytestmark = pytest.mark.filterwarnings("ignore")
"""PyTorch warns of itself when it trains and exports; what is tested is what is served."""

ROWS = np.random.default_rng(1).normal(size=(5, 4))


def trained():
    """A small classifier, trained to tell whether the sum of four numbers is positive."""
    import torch  # noqa: PLC0415 (slow, and not everywhere)

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(8, 3), torch.nn.Softmax(1)
    )
    x = torch.randn(64, 4)
    y = (x.sum(1) > 0).long()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(20):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def answers_of(model, rows):
    import torch  # noqa: PLC0415 (slow, and not everywhere)

    with torch.no_grad():
        return model.eval()(torch.tensor(rows, dtype=torch.float32)).numpy()


@needs("torch")
async def test_a_live_module_is_exported_and_answers_as_itself(serve):
    model = trained()
    served = serve(model.train(), example_input=[0.0] * 4)
    assert model.training, "packaging leaves the user's module as it was"
    assert all(part.training for part in model.modules())
    manifest = served.manifest
    assert (manifest["flavor"], manifest["entry"], manifest["input_type"]) == ("torch", "model.pt2", "floats")
    assert (manifest["input_width"], manifest["output_kind"]) == (4, "scores")
    assert manifest["framework"].startswith("torch 2.")
    assert len(manifest["digest"]) == 64
    hello = await served.ready()
    assert (hello.input_width, hello.flavor) == (4, "torch")
    assert hello.warmup, "the example warms it up"
    assert np.array(await served.ask(*ROWS)) == pytest.approx(answers_of(model, ROWS), abs=1e-6)
    assert np.array(await served.ask(ROWS[0])) == pytest.approx(answers_of(model, ROWS[:1]), abs=1e-6)


@needs("torch")
async def test_a_model_of_floats_serves_doubles_and_integers(serve):
    model = trained()
    for input_type, rows in (("doubles", ROWS), ("integers", ROWS.round())):
        served = serve(model, example_input=np.zeros(4), input_type="doubles")
        served.manifest["input_type"] = "doubles"
        await served.ready()
        assert np.array(await served.ask(*rows)) == pytest.approx(answers_of(model, rows), abs=1e-6), input_type


@needs("torch")
async def test_a_program_exported_for_one_row_serves_batches(serve, tmp_path):
    import torch  # noqa: PLC0415 (slow, and not everywhere)

    model = trained().eval()
    for size in (1, 2):
        path = tmp_path / f"for-{size}.pt2"
        torch.export.save(torch.export.export(model, (torch.zeros(size, 4),)), path)
        served = serve(path)
        assert served.manifest["packages"] == {"torch": torch.__version__.partition("+")[0]}
        await served.ready()
        assert np.array(await served.ask(*ROWS)) == pytest.approx(answers_of(model, ROWS), abs=1e-6)


@needs("torch")
async def test_torchscript_is_served_from_its_file(serve, tmp_path):
    import torch  # noqa: PLC0415 (slow, and not everywhere)

    model = trained().eval()
    torch.jit.save(torch.jit.script(model), tmp_path / "model.pt")
    served = serve(tmp_path / "model.pt", "--threads", "2")
    assert served.manifest["framework"] == "TorchScript"
    assert (await served.ready()).input_width is None
    assert np.array(await served.ask(*ROWS)) == pytest.approx(answers_of(model, ROWS), abs=1e-6)
    short = await served.ask([1.0, 2.0])
    assert short[0].code == "model_error"
    assert await served.ask(ROWS[0]), "the replica goes on"


@needs("torch")
async def test_rows_become_images_where_the_model_takes_images(serve):
    import torch  # noqa: PLC0415 (slow, and not everywhere)

    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(2 * 6 * 6, 1))
    images = np.random.default_rng(2).normal(size=(3, 1, 8, 8)).astype("f4")
    served = serve(model, example_input=torch.zeros(1, 8, 8))
    assert (served.manifest["input_shape"], served.manifest["input_width"]) == ([1, 8, 8], 64)
    assert served.manifest["output_kind"] == "number"
    await served.ready()
    expected = answers_of(model, images)[:, 0]
    assert await served.ask(*images.reshape(3, 64)) == pytest.approx(expected.tolist(), abs=1e-5)


@needs("torch")
async def test_token_ids_are_whole_numbers(serve):
    import torch  # noqa: PLC0415 (slow, and not everywhere)

    torch.manual_seed(1)

    class Bag(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(10, 4)

        def forward(self, ids):
            vectors = self.embedding(ids)
            return {"mean": vectors.mean(1), "count": (ids > 0).sum(1)}

    model = Bag()
    served = serve(model, example_input=[1, 2, 0])
    assert (served.manifest["input_type"], served.manifest["output_kind"]) == ("integers", "json")
    await served.ready()
    (answer,) = await served.ask([3, 4, 0])
    assert answer["count"] == 2
    assert answer["mean"] == pytest.approx(model(torch.tensor([[3, 4, 0]]))["mean"][0].tolist(), abs=1e-6)


@needs("torch")
def test_the_thread_limit_reaches_torch(tmp_path):
    artifact, _ = unpacked(tmp_path, trained(), example_input=[0.0] * 4)
    assert after_loading(artifact, 3, "import torch; print(torch.get_num_threads())") == "3"


@needs("torch")
def test_what_cannot_be_served_is_told_before_it_is_sent(tmp_path):
    import torch  # noqa: PLC0415 (slow, and not everywhere)

    model = trained()
    with pytest.raises(InvalidModel, match="give example_input, one input in the shape"):
        unpacked(tmp_path, model)
    with pytest.raises(InvalidModel, match=r"cannot be exported .* from an input of the shape \(3,\)"):
        unpacked(tmp_path, model, example_input=[0.0] * 3)
    torch.save(model, tmp_path / "whole.pt")
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    for name in ("whole.pt", "weights.pth"):
        with pytest.raises(InvalidModel, match=r"torch\.export\.save"):
            unpacked(tmp_path, tmp_path / name)


@needs("torch")
async def test_a_program_with_two_inputs_takes_no_flat_row_and_says_so_in_one_sentence(serve, tmp_path):
    import torch  # noqa: PLC0415 (slow, and not everywhere)

    class Two(torch.nn.Module):
        def forward(self, a, b):
            return a + b

    program = torch.export.export(Two(), (torch.zeros(2, 4), torch.zeros(2, 4)))
    torch.export.save(program, tmp_path / "two.pt2")
    served = serve(tmp_path / "two.pt2", input_type="doubles")
    assert (await served.failure()).startswith("The model has 2 inputs (a, b), and one is expected")
