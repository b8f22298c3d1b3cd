"""
For every test of the workspace: assertions of the conformance kit explain themselves like those of test files.
"""

import pytest

pytest.register_assert_rewrite("fustor_core.testing")
