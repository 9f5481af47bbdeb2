"""The same work spread over GPUs and machines with Ray; installed as `render.distributed`."""
