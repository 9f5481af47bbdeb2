"""One job from its photograph to its print: the renderer, its checkpoints, the finish after painting, new
colors for a finished print, and the estimate of what a job will cost.

May import: `render.jobs`, `render.pictures`, `render.network` and `render.system`.
"""
