"""Names that are private to Ray and that we use all the same: they must still be what we take them for."""

import inspect

from ray._private import worker
from ray.job_submission import JobSubmissionClient


def test_ray_still_prints_reports_on_its_processes_through_the_function_that_we_replace():
    assert callable(getattr(worker, "print_to_stdstream", None)), "see _silence in distributed/cluster.py"
    callers = [line for line in inspect.getsource(worker).splitlines() if "print_to_stdstream" in line]
    assert len(callers) > 1, (
        "Ray has the function and does not call it: see _silence in distributed/cluster.py"
    )


def test_rays_client_still_makes_requests_with_the_clusters_token():
    request = getattr(JobSubmissionClient, "_do_request", None)
    assert request is not None, "see Dashboard in distributed/jobs_api.py"
    assert list(inspect.signature(request).parameters)[:3] == ["self", "method", "endpoint"]
