"""A client of FTP on top of ftpdata, to be run, read, and copied.

``python -m examples.client get URL [LOCAL]`` fetches a file; ``put``, ``ls`` and ``mirror`` do
what their names say. What ftpdata does (the data connection, listings, files that appear only
when they are whole) is imported; what every client does for itself is here:

* `client`, with `replies`: the core, to be copied: login, TLS, commands, and the way to a data
  connection. At most 500 lines, which need nothing else of this package.
* `files`: what the commands about files and directories are; parts, and files that get their name
  when they are whole.
* `persistent`: a session that is made anew when it is lost, and looks before it sends again.
* `pipelining`: sessions that ask for the next data connection early, for mirrors.
* `segments`: one file over several connections.
* `mirror`: a directory and all below it, in either direction; `plan` decides what it does.
* `location`: URLs and ``~/.netrc``.
* `command_line`: the program.
"""

from __future__ import annotations

__all__: list[str] = []
