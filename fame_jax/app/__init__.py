"""A page to explore: drop a photograph, ask, look. It runs on this machine alone, and files stay in memory.

`fame app` serves it. A `Session` has the networks and the photographs in memory and knows nothing of the page; a
`Server` lets the browser of this machine talk to it.
"""

from fame_jax.app.asked import Asked, Side
from fame_jax.app.desk import Again, Desk, Threshold
from fame_jax.app.server import Server
from fame_jax.app.session import Session

__all__ = ["Again", "Asked", "Desk", "Server", "Session", "Side", "Threshold"]
