"""Many examples through one compiled program, in bounded memory, on all devices of this process.

`perturb_many` walks a stream of images, `map_many` applies any function of one example to a stream of them. Both
compile once whatever the number of examples, share the batch among the devices of a mesh, and read the next examples in
a thread while the current ones are computed. `docs/many_images.md` shows how.
"""

from fame_jax.batching.maps import map_many
from fame_jax.batching.walks import perturb_many

__all__ = ["map_many", "perturb_many"]
