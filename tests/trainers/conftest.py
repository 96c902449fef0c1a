from tests.contract.conftest import name, tiny

__all__ = ["name", "tiny"]
