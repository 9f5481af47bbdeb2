"""Generative adversarial networks (Goodfellow et al. 2014): trained on small pictures, sampled by the thousand."""
