"""Generative adversarial networks: training them on a user's own pictures, sampling latents, and samples as
content images for style transfer.

May import: `render.painting` and all that it may import.
"""
