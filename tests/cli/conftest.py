from tests.contract.conftest import tiny

__all__ = ["tiny"]
