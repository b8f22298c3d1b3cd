"""
For every test of the workspace: assertions of the conformance kit explain themselves like those of test files, and a busy machine does not
fail a random test for taking its time.
"""

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("fustor_core.testing")

settings.register_profile("fustor", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("fustor")
