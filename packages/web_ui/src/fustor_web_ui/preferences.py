"""
The language and the colours that somebody has chosen, kept in cookies of their browser.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, get_args

from starlette.requests import Request
from starlette.responses import Response

from fustor_web_ui.texts import Language, language_of

Theme = Literal["auto", "light", "dark"]
THEMES: Final[tuple[Theme, ...]] = get_args(Theme)
_YEAR_S: Final = 365 * 24 * 3600


class Preferences(NamedTuple):
    """
    What somebody has chosen.
    """

    language: Language
    theme: Theme


def preferences_of(request: Request) -> Preferences:
    """
    Read what a browser sends.
    """
    language = language_of(request.cookies.get("fustor_language"), request.headers.get("accept-language"))
    wanted = request.cookies.get("fustor_theme")
    return Preferences(language, next((theme for theme in THEMES if theme == wanted), "auto"))


def remember(answer: Response, name: str, value: str) -> None:
    """
    Keep a choice for all consoles of this host.
    """
    answer.set_cookie(f"fustor_{name}", value, max_age=_YEAR_S, path="/", samesite="lax")
