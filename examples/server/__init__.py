"""A whole FTP server on top of ftpdata, to be read, run, and copied.

``python -m examples.server DIRECTORY`` serves a directory, and ``--store s3://bucket`` in its
place a bucket. What ftpdata does
(the data connection) is imported; what every server does for itself (commands,
accounts, files) is here. Read it in this order:

* `telnet`, `reply`: bytes to command lines, replies to bytes.
* `control`: the control connection, which carries both, through `control_tls` if
  the client wants TLS.
* `session`: one client: which command runs, which commands wait, what acts on a
  transfer at once (ABOR, STAT, NOOP). It has a `login`, its `protection` (TLS), and
  the `choices` for the transfers that follow.
* `transfer`: the data connection of a session, from PASV or PORT to the one
  final reply. `passive`: where passive connections come in.
* `commands`: what each command does, in the groups of RFC 959 §4.1. `listings`: what
  LIST and its relatives show. `failures`: how an error becomes a reply.
* `store`: what commands want of a store. `disk`: the served directory, with `memory`
  as its fast way. `objects`: the bucket that is served in its place. `paths`: virtual paths.
  `accounts`: who may log in, and what a user may do then. `rates` and `quota`: how fast, and how
  much. `hosts`: what several names of one server stand for. `certificates`: theirs, renewed.
* `server`: accepting clients, limits, and how it all ends. `listening`: the sockets that
  clients connect to. `places`: how many sessions there may be, and `attempts` how many
  wrong passwords. `settings`: what can be set, and `command_line` what of that has an option.
* `gunicorn_worker`: several processes on one host. `cluster`: what several hosts count together.
"""

from __future__ import annotations

__all__: list[str] = []
