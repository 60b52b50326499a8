"""Whether somebody else can have written a file."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

if sys.platform != "win32":
    import grp
    import pwd

__all__ = ["other_writer"]


def other_writer(path: Path, status: os.stat_result) -> str:
    """In words, who can have written a file besides this user and root; "" for nobody. Knows POSIX modes
    only.

    `path` is where it was opened, `status` what was opened: a link that somebody else made is theirs,
    whatever it leads to.
    """
    if sys.platform == "win32":
        return ""
    mine = {0, os.geteuid()}
    for owner in (status.st_uid, path.lstat().st_uid):
        if owner not in mine:
            return f"belongs to another user (uid {owner})"
    if status.st_mode & stat.S_IWOTH:
        return "can be written by everybody"
    if status.st_mode & stat.S_IWGRP and not _is_private(status.st_gid, status.st_uid):
        return f"can be written by a group (gid {status.st_gid})"
    return ""


def _is_private(group: int, owner: int) -> bool:
    """Whether a group is a user's own, as many distributions make one for each user; or root's."""
    try:
        user, entry = pwd.getpwuid(owner), grp.getgrgid(group)
    except KeyError:
        return False
    return user.pw_gid == group and entry.gr_name == user.pw_name and set(entry.gr_mem) <= {user.pw_name}
