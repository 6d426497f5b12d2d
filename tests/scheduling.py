"""Which tests share an xdist worker: those that share the product's processes.

xdist 3.8 writes the mark `xdist_group` into a private field of the item that pytest 9.2 no longer reads, so `--dist
loadgroup` has no effect. The groups are therefore known here, by place; the marks stay for the day it is mended.
"""

from typing import Final

from xdist.scheduler import LoadGroupScheduling

# One product for the whole folder.
_FOLDERS: Final = ("tests/commands/", "tests/e2e/", "tests/isolation/")
# One for each file.
_FOLDERS_OF_FILES: Final = ("tests/faults/", "tests/matrix/", "tests/shows/", "tests/sweep/")


# Real processes under a real clock: a neighbour that takes both cores for a second can fail them.
TIMED: Final = (*_FOLDERS, *_FOLDERS_OF_FILES)


class GroupScheduling(LoadGroupScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        for folder in _FOLDERS:
            if file.startswith(folder):
                return folder
        return file if file.startswith(_FOLDERS_OF_FILES) else super()._split_scope(nodeid)
