"""
The page on which somebody signs in: a plain form, which works before anything else is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Final
from urllib.parse import urlencode

from fustor_core.errors import FustorError
from fustor_web_ui.console import Console
from fustor_web_ui.preferences import Preferences
from fustor_web_ui.texts import HTML_NAMES, LANGUAGES, NAMES

REASONS: Final = {
    "ended": "Your session has ended. Sign in again to go on.",
    "refused": "The service does not accept what you signed in with any more. Sign in again.",
}
"""
Why somebody who was signed in is asked to do it again: English, by what the address says.
"""

_PAGE = """<!doctype html>
<html lang="{html_language}" data-theme="{theme}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{sign_in} · {title}</title>
<link rel="icon" href="{path}/assets/favicon.svg">
<link rel="stylesheet" href="{path}/assets/console.css">
</head>
<body class="sign-in">
<main>
<h1>{title}</h1>
{trouble}
<form method="post" action="{path}/sign-in">
<input type="hidden" name="next" value="{next}">
{fields}
<button type="submit">{sign_in}</button>
</form>
<p class="hint">{hint}</p>
<nav aria-label="{languages_label}">{languages}</nav>
</main>
</body>
</html>
"""


def render(
    console: Console,
    chosen: Preferences,
    *,
    next: str,  # noqa: A002 - the name of the form's field
    error: FustorError | None = None,
    wrong: str | None = None,
    given: Mapping[str, str] | None = None,
) -> str:
    """
    Return the page.

    Args:
        console: Whose page.
        chosen: In which language and colours.
        next: Where to go on to.
        error: Why signing in failed.
        wrong: The same, as an English sentence.
        given: What was filled in before.
    """

    def say(english: str) -> str:
        return escape(console.texts.say(chosen.language, english))

    problem = ""
    if error is not None or wrong is not None:
        lines = [say(wrong)] if wrong is not None else []
        if error is not None:
            told = (error.message, error.hint)
            lines += [escape(console.texts.pass_on(chosen.language, text)) for text in told if text]
        problem = f'<div class="trouble" role="alert">{"".join(f"<p>{line}</p>" for line in lines)}</div>'
    fields = []
    for at, field in enumerate(console.fields):
        value = escape((given or {}).get(field.name, ""))
        kind = "password" if field.is_secret else "text"
        focus = " autofocus" if at == 0 else ""
        fields.append(
            f'<label for="{field.name}">{say(field.label)}</label>'
            f'<input id="{field.name}" name="{field.name}" type="{kind}" value="{value}" '
            f'autocomplete="{field.autocomplete}" required{focus}>'
        )
    here = "/sign-in?" + urlencode({"next": next})
    languages = [
        f'<a href="{console.path}/preferences?{escape(urlencode({"language": one, "next": here}))}" '
        f'lang="{HTML_NAMES[one]}">{NAMES[one]}</a>'
        for one in LANGUAGES
        if one != chosen.language
    ]
    return _PAGE.format(
        html_language=HTML_NAMES[chosen.language],
        theme=chosen.theme,
        path=console.path,
        title=escape(console.title),
        sign_in=say("Sign in"),
        trouble=problem,
        next=escape(next),
        fields="".join(fields),
        hint=say(console.sign_in_hint),
        languages_label=say("Language"),
        languages=" ".join(languages),
    )
