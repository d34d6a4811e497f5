"""The way in and the way out: all notebooks of a run in order, and what it found on one page.

``python -m bioclip_lib.reproduce`` is the command; `settings` looks at what a user sets before anything is computed,
`notebooks` executes what is not up to date. `page` writes ``index.html`` of a finished run, of what `answer` reads from
its tables and of the labels that look wrong; `readme` shows named runs in README.md. Nothing is imported here: a check
of a run waits for no table and no model.
"""
