"""`python -m fame_jax` is `fame`."""

from fame_jax.cli import main

main()
