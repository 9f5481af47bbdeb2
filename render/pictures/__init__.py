"""Pictures as arrays and files: reading photographs, color management, color-preserving postprocessing, paper
sizes, checks of a finished picture, writing prints. A new picture format goes here.

May import: `render.system`. Knows numpy, OpenCV and Pillow, never torch.
"""
