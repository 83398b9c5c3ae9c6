"""A QR code as SVG: black on white in both themes, or phones do not find it."""

from markupsafe import Markup

QUIET = 4
"""Modules left white around it (ISO/IEC 18004, section 6.3.8)."""


def svg(text: str) -> Markup:
    """Sized by its style sheet. Raises ValueError: the text is too long for one."""
    import segno  # for who sets up a second factor

    drawn = segno.make(text, error="m", micro=False).svg_inline(border=QUIET, dark="#000", light="#fff", omitsize=True)
    return Markup(drawn)  # noqa: S704 -- drawn of modules; nothing of the text stands in it
