"""A whole FTP server on top of ftpdata, to be read, run, and copied.

``python -m examples.server DIRECTORY`` serves a directory. What ftpdata does
(the data connection) is imported; what every server does for itself (commands,
accounts, files) is here. Read it in this order:

* `control`: lines in, replies out: the control connection as text.
* `session`: one client: which command runs, which wait, what reaches past a
  transfer that runs (ABOR, STAT, NOOP).
* `transfer`: the data connection of a session, from PASV or PORT to the one
  final reply.
* `commands`: what each command does, in the groups of RFC 959 §4.1.
* `storage`: the served directory. `accounts`: who may log in.
* `server`: listening, limits, and how it all ends. `settings`: what can be set.
"""

from __future__ import annotations

__all__: list[str] = []
