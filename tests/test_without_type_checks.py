"""What the tests' checks of types would tell, told without them: in a process of its own, as a user has it."""

import subprocess
import sys

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from fame_jax import EXPLAINERS, NetworkError, OptionError, Split, attribution, class_logit, explain, metrics, perturb
from fame_jax.batching import map_many
from fame_jax.explainers.explainer import MethodError
from fame_jax.paths import path_sums

def network(image):
    return image.mean((0, 1))

eight, key = np.zeros((32, 32, 3), np.uint8), jax.random.key(0)
face, map = eight / np.float32(255), np.ones((32, 32), np.float32)
split, cam = Split(network, network), EXPLAINERS["grad_cam"]
pixels, shape, label = "the image is uint8", "expected one image [H, W, C]", "expected the index of a class"
fame = lambda **options: explain(class_logit, face, network, 1, **options)
bad = [
    (OptionError, pixels, lambda: perturb(class_logit, eight, network, 1)),
    (OptionError, pixels, lambda: EXPLAINERS["xssab"].explain_pair(network, face, eight)),
    (OptionError, shape, lambda: perturb(class_logit, face[None], network, 1)),
    (OptionError, "channels seem to be first", lambda: perturb(class_logit, face.transpose(2, 0, 1), network, 1)),
    (OptionError, "channels seem to be first", lambda: cam.explain(split, face[None, ..., 0], 1)),
    (OptionError, "argument '3': expected a number", lambda: perturb(class_logit, face, network, "3")),
    (OptionError, "the loss returned float32[3]; expected one", lambda: explain(lambda image: network(image), face)),
    (OptionError, "the loss returned int32[]; expected one", lambda: perturb(lambda image: 3, face)),
    (TypeError, "there is no option 'iteration'; did you mean iterations", lambda: fame(iteration=3)),
    (MethodError, "random: key=0 is no random key", lambda: EXPLAINERS["random"].explain(network, face, 1, key=0)),
    (OptionError, "expected an array", lambda: explain(class_logit, network, face, 1)),
    (ValueError, "example 0: expected an image and the tuple", lambda: list(map_many(network, [face]))),
    (ValueError, "example 0: expected an image and the tuple", lambda: list(map_many(network, [(face, 1)]))),
    (OptionError, "the image is a list", lambda: perturb(class_logit, face.tolist(), network, 1)),
    (OptionError, pixels, lambda: attribution(eight, eight)),
    (OptionError, pixels, lambda: explain(class_logit, eight, network, 1, average=True)),
    (OptionError, pixels, lambda: path_sums(class_logit, eight, network, 1)),
    (OptionError, "missing is uint8", lambda: metrics.impute(face, eight[..., 0], key)),
    (OptionError, "target='dott'", lambda: cam.explain_pair(split, face, face, target="dott")),
    (ValueError, "expected [32, 32], as the logits", lambda: region(map[:1])),
    (OptionError, "expected [32, 32], as the map", lambda: metrics.pointing_game(map, map[:16] > 0)),
    (OptionError, "expected [32, 32], as the map", lambda: metrics.iou(map, map[:1] > 0, 0.5)),
]

def region(weights):
    from fame_jax.losses import class_over_region

    return class_over_region(jnp.asarray(face), lambda image: image, weights, 1)

for name in ("gradient", "rise", "blob", "fame", "random"):
    bad.append((OptionError, pixels, lambda name=name: EXPLAINERS[name].explain(network, eight, 1, key=key)))
    bad.append((OptionError, shape, lambda name=name: EXPLAINERS[name].explain(network, face[..., 0], 1, key=key)))
for name in ("fame_evidence", "evidence_cam", "refined_cam", "grad_cam"):
    bad.append((NetworkError, "no feature map", lambda name=name: EXPLAINERS[name].explain(network, face, 1, key=key)))
for wrong in (True, np.array([1]), 2.0, [3], jnp.ones(1, int)):
    bad.append((OptionError, label, lambda wrong=wrong: perturb(class_logit, face, network, wrong)))
causal = lambda *one: metrics.rise_deletion(*one[:3], mean=0.5), lambda *one: metrics.rise_insertion(*one[:3])
for measure in (metrics.deletion, metrics.insertion, lambda *one: metrics.road_delete(*one, key), *causal):
    bad.append((OptionError, pixels, lambda measure=measure: measure(network, eight, map, 1)))
    for other in (map[:1], map[:16, :16]):
        words = "expected [32, 32], as the image"
        bad.append((OptionError, words, lambda measure=measure, other=other: measure(network, face, other, 1)))
for kind, words, call in bad:
    try:
        call()
    except kind as error:
        assert words in str(error), error
    else:
        raise AssertionError(words)
assert float(metrics.occluded(face + 1, (2, 2, 4, 4)).min()) == 0
# NumPy's floats are taken, also by a network that would give them back.
EXPLAINERS["gradient"].explain(network, np.ones((32, 32, 3), np.float32), 1)
"""


def test_bad_input_is_named():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
