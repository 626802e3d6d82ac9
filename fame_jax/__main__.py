"""`python -m fame_jax` is `fame`."""

from fame_jax.cli import main

if __name__ == "__main__":
    main()
