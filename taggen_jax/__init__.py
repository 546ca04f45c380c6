"""Product text in, product tags out: encoder-decoder models in JAX and Flax."""

__version__ = "0.1.0"
