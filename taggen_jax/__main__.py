"""`python -m taggen_jax` is `taggen`."""

from taggen_jax.main import main

main()
