"""Who may see the page: who has the token, in the URL that is printed, and in a cookie then.

Requests that change something have to be POST, and to hold a text that only the page's own forms
have: another site can make a browser send the cookie, but cannot read the page.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping


class Access:
    """Checks requests. `token` is a secret text; by default a random one."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token or secrets.token_urlsafe(32)
        #: The value of the cookie, and the text in forms; neither tells the token.
        self.cookie = self._derived("cookie")
        self.form = self._derived("form")

    def _derived(self, use: str) -> str:
        return hmac.new(self.token.encode(), use.encode(), hashlib.sha256).hexdigest()

    def is_token(self, given: str) -> bool:
        """Return True for the token."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def is_cookie(self, given: str) -> bool:
        """Return True for the value of the cookie."""
        return hmac.compare_digest(given.encode(), self.cookie.encode())

    def may_change(self, form: str, headers: Mapping[str, str]) -> bool:
        """Return True if a POST comes from a form of this page."""
        site = headers.get("Sec-Fetch-Site", "same-origin")  # browsers before 2023 do not send it
        same = site in ("same-origin", "none")
        return same and hmac.compare_digest(form.encode(), self.form.encode())
