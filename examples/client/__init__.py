"""A client of FTP on top of ftpdata, to be run, read, and copied.

``python -m examples.client get URL [LOCAL]`` fetches a file; ``put``, ``ls`` and ``mirror`` do
what their names say. What ftpdata does (the data connection, listings, files that appear only
when they are whole) is imported; what every client does for itself is here:

* `client`: the client itself, in one file that needs nothing else of this package: login, TLS, the
  way to a data connection, files and listings. Copy this one.
* `location`: URLs and ``~/.netrc``.
* `command_line`: the program.
"""

from __future__ import annotations

__all__: list[str] = []
