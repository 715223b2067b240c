"""Modules that are loaded when they are first asked for something.

Most calls of ops/lab run one command in a node, and tests make thousands of them: loading everything else would be most
of their work.
"""

import importlib


class Later:
    def __init__(self, name):
        self.name = name

    def __getattr__(self, attribute):
        return getattr(importlib.import_module(self.name), attribute)
