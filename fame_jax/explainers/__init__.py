"""Explainers: functions of one image, or of two faces, that return maps in [0, 1]. `EXPLAINERS` lists them by name."""

from fame_jax.explainers.cam import class_cam, grad_cam, grad_cam_ew, grad_cam_pp, hires_cam, pair_cam
from fame_jax.explainers.corrrise import corrrise
from fame_jax.explainers.explainer import MAPS, Cost, Explainer, MethodError, image_key
from fame_jax.explainers.fame import PairExplanation, class_map, location_map, location_maps, pair_maps
from fame_jax.explainers.fggb import fggb
from fame_jax.explainers.fullgrad import full_gradients, fullgrad
from fame_jax.explainers.gradients import gradient, integrated_gradients, path_integral, random_map, smooth_grad
from fame_jax.explainers.pairs import PairMaps
from fame_jax.explainers.rise import rise
from fame_jax.explainers.table import EXPLAINERS, explainer
from fame_jax.explainers.xssab import xssab

__all__ = [
    "EXPLAINERS",
    "MAPS",
    "Cost",
    "Explainer",
    "MethodError",
    "PairExplanation",
    "PairMaps",
    "class_cam",
    "class_map",
    "corrrise",
    "explainer",
    "fggb",
    "full_gradients",
    "fullgrad",
    "grad_cam",
    "grad_cam_ew",
    "grad_cam_pp",
    "gradient",
    "hires_cam",
    "image_key",
    "integrated_gradients",
    "location_map",
    "location_maps",
    "pair_cam",
    "pair_maps",
    "path_integral",
    "random_map",
    "rise",
    "smooth_grad",
    "xssab",
]
