"""Who works through the jobs of a batch: this process, several processes of this machine, files fetched from
and sent to other machines. A new runner goes here (those that need Ray stand in distributed/).

May import: `render.painting`, `render.gan` and all that they may import. Never Ray.
"""
