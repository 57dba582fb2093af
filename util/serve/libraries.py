"""What the page needs besides requirements.txt: the only module that imports it."""

from util.say import UserError

try:
    from waitress import create_server
    from werkzeug.exceptions import HTTPException
    from werkzeug.routing import Map, Rule
    from werkzeug.wrappers import Request, Response
    from werkzeug.wsgi import FileWrapper
except ImportError as error:
    raise UserError(f"the page needs {error.name}: pip install -r requirements-page.txt") from None

__all__ = [
    "FileWrapper", "HTTPException", "Map", "Request", "Response", "Rule", "create_server",
    "reads_heic",
]  # fmt: skip


def reads_heic():
    """Let Pillow read HEIC where pillow-heif is installed, and tell whether it can."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener(thumbnails=False)
    return True
