from environments.conftest import environment

__all__ = ["environment"]
