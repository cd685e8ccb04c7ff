"""What CapSolver's API answers when it refuses, as docs.capsolver.com/guide/api-error lists it."""

from __future__ import annotations


class ApiError(Exception):
    """An error envelope: ``errorCode``, ``errorDescription`` and the HTTP status that carries them."""

    def __init__(self, code: str, description: str, *, status: int = 400) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description
        self.status = status


def invalid_task(description: str) -> ApiError:
    return ApiError("ERROR_INVALID_TASK_DATA", description)


def solve_failed(reason: str = "1001") -> ApiError:
    """Build the failure of one attempt; ``1001`` is the number that users of the live service report."""
    return ApiError("ERROR_CAPTCHA_SOLVE_FAILED", f"Failed to solve the captcha: {reason}")
