"""The mathematics of style transfer: VGG-19 and its weights, tiles and their halos, moments, losses, the
objective, the optimiser, and the device and memory that it all runs on. A new loss goes here.

May import: `render.system`. Knows torch, but neither picture files nor jobs; `layers`, `tiling` and `memory`
are plain arithmetic, so that a plan can be made without torch.
"""
