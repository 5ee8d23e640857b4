"""Text from elsewhere, made harmless for a terminal."""


def escape_controls(text: str) -> str:
    """Write what doesn't print, such as line ends and escape sequences, by its number."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "replace").decode()
        for char in text
    )
