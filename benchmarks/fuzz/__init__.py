"""What becomes of ten thousand broken inputs: a result or one clear line, and nothing else.

Sweep files, arguments of tasks, tables, curvature and run folders are made by hypothesis from valid
ones and from nonsense (`sweeps`, `tables`, `folders`).
Every input is read as the commands read it (`rooms`), and held against this: a result, or one
printable line that is meant for people; no traceback; no file opened for writing outside the
folder, no program started, no pickle loaded (Python's own audit events are watched, `watch`); JSON
without NaN; pages and terminal lines in which a string of the input is only text (`looks`).
"""
