"""The one way to write to disk: at any kill the old content is there, or the new, whole.

`files` writes one file, `folders` a folder of them. Both write a draft under a hidden name beside
its place, wait until it is on the disk (fsync), and then put it in place in one step.
"""
