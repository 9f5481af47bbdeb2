"""What is to be done, and what has been: settings, styles and their looks, the plan of a batch, its events,
the ledger. Everything here is a plain value, or a record of one.

May import: `render.pictures`, `render.system` and the table `render.network.layers`. Never torch.
"""
