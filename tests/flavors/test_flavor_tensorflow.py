"""TensorFlow for real. Training is left to processes of their own: two copies of TensorFlow in one are too many."""

import json
import subprocess
import sys

import numpy as np
import pytest
from flavor_harness import WAIT_S, after_loading, needs, unpacked

from clipper.errors import InvalidModel

TRAIN = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf

tf.keras.utils.set_random_seed(0)
layers = [tf.keras.layers.Dense(8, "relu"), tf.keras.layers.Dropout(0.5), tf.keras.layers.Dense(3, "softmax")]
model = tf.keras.Sequential([tf.keras.Input((4,)), *layers])
model.compile("adam", "sparse_categorical_crossentropy")
x = np.random.default_rng(0).normal(size=(64, 4)).astype("f4")
model.fit(x, (x.sum(1) > 0).astype(int), epochs=3, verbose=0)
model.save("model.keras")
model.export("exported", verbose=False)

class Module(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([2, 3], tf.float64, name="x")])
    def score(self, x):
        return {"sum": tf.reduce_sum(x, 1), "doubled": 2 * x}

module = Module()
tf.saved_model.save(module, "module", signatures=module.score)
tf.saved_model.save(tf.Module(), "unsigned")

class Text(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="x")])
    def upper(self, x):
        return tf.strings.upper(x)

text = Text()
tf.saved_model.save(text, "text", signatures=text.upper)

from clipper.packaging import package
from pathlib import Path
Path("live").mkdir()
package(model, Path("live"), example_input=[0, 0, 0, 0])
rows = np.array(json.loads(sys.argv[1]), "f4")
print("ANSWERS", json.dumps(model(rows, training=False).numpy().tolist()))
"""

ROWS = np.random.default_rng(1).normal(size=(5, 4))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with models of several kinds, and the classifier's own answers for ``ROWS``."""
    folder = tmp_path_factory.mktemp("tensorflow")
    command = [sys.executable, "-c", TRAIN, json.dumps(ROWS.tolist())]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=WAIT_S)
    assert done.returncode == 0, done.stderr
    return folder, np.array(json.loads(done.stdout.partition("ANSWERS")[2]))


@needs("tensorflow")
@pytest.mark.parametrize(
    ("name", "entry", "package"), [("model.keras", "model.keras", "keras"), ("exported", "saved_model", "tensorflow")]
)
async def test_a_saved_model_answers_as_itself(serve, trained, name, entry, package):
    folder, expected = trained
    served = serve(folder / name)
    manifest = served.manifest
    assert (manifest["flavor"], manifest["entry"], manifest["input_type"]) == ("tensorflow", entry, "floats")
    assert manifest["input_width"] == 4
    assert list(manifest["packages"]) == [package]
    assert (await served.ready()).input_width == 4
    assert np.array(await served.ask(*ROWS)) == pytest.approx(expected, abs=1e-5)
    assert np.array(await served.ask(ROWS[0])) == pytest.approx(expected[:1], abs=1e-5)


@needs("tensorflow")
async def test_a_live_keras_model_is_saved_and_serves_doubles(serve, trained, tmp_path):
    import tarfile  # noqa: PLC0415 (for this one test)

    folder, expected = trained
    with tarfile.open(folder / "live" / "artifact.tar") as archive:
        archive.extractall(tmp_path / "live", filter="data")
    path = tmp_path / "live" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert (manifest["flavor"], manifest["entry"]) == ("tensorflow", "model.keras")
    path.write_text(json.dumps({**manifest, "input_type": "doubles"}))
    served = serve(tmp_path / "live")
    assert (await served.ready()).warmup, "the example warms it up"
    assert np.array(await served.ask(*ROWS)) == pytest.approx(expected, abs=1e-5)


@needs("tensorflow")
async def test_a_signature_with_a_fixed_batch_and_two_outputs_serves_any_batch(serve, trained):
    served = serve(trained[0] / "module")
    assert (served.manifest["input_type"], served.manifest["input_width"]) == ("doubles", 3)
    await served.ready()
    answers = await served.ask([1, 2, 3], [4, 5, 6], [0, 0, 1])
    assert answers[1] == {"sum": 15.0, "doubled": [8.0, 10.0, 12.0]}
    assert [answer["sum"] for answer in answers] == [6, 15, 1]


@needs("tensorflow")
async def test_a_model_of_text_takes_strings(serve, trained):
    served = serve(trained[0] / "text")
    assert served.manifest["input_type"] == "strings"
    await served.ready()
    assert await served.ask("clipper", "q") == ["CLIPPER", "Q"]


@needs("tensorflow")
async def test_an_input_type_that_the_model_does_not_take_is_one_sentence(serve, trained):
    served = serve(trained[0] / "text", "--input-type", "doubles")
    sentence = await served.failure()
    assert sentence == (
        "The model takes strings, and it was deployed with the input type 'doubles': deploy it with strings."
    )
    assert "Traceback" not in sentence


@needs("tensorflow")
def test_the_thread_limit_reaches_tensorflow(trained, tmp_path):
    artifact, _ = unpacked(tmp_path, trained[0] / "model.keras")
    statement = "import tensorflow as tf; print(tf.config.threading.get_intra_op_parallelism_threads())"
    assert after_loading(artifact, 3, statement) == "3"


@needs("tensorflow")
def test_a_saved_model_without_a_signature_is_refused_before_it_is_sent(trained, tmp_path):
    with pytest.raises(InvalidModel, match=r"no signature 'serving_default'.*model\.export"):
        unpacked(tmp_path, trained[0] / "unsigned")
