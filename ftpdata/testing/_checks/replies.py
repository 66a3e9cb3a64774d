"""The replies of commands that move no file."""

from __future__ import annotations

from ._frame import Trial, check

__all__ = ["greeting_and_login"]


@check("RFC 959 §5.4")
async def greeting_and_login(trial: Trial) -> None:
    """The greeting is 220, and a user with a password gets 331 and 230 (or 230 at once)."""

    async with trial.client() as client:
        await client.expect("NOOP", 200)
