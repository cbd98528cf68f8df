#!/usr/bin/env python3
"""Checks what compilers do not: who includes whom, banned calls, and the tree's good order.

    tidy_test.py [ROOT]

The rules are those of DESIGN.md section 3 and of ARCHITECTURE.md. Each rule is first tried on small
bad and good snippets (the cases below), so a rule that stopped biting fails this test as well.
Prints `file:line: rule: what to do` for each finding and `N passed, N failed` at the end.
"""

import collections
import os
import posixpath
import re
import sys

MAX_COLUMNS = 100

Finding = collections.namedtuple("Finding", ["path", "line", "rule", "message"])

# Folder -> the folders whose headers it may include. The longest matching folder counts; files
# directly in src/, and all of tests/ and tools/, may include anything.
INCLUDES = {
    "src/base": {"base"},
    "raft": {"base", "raft"},
    "storage": {"base", "storage"},
    "net": {"base", "net"},
    "src/api": {"base", "api"},
    "src/stream": {"base", "api", "stream"},
    "src/shard": {"base", "api", "raft", "storage", "stream", "shard"},
    "src/ops": {"base", "ops"},
    "src/admin": {"base", "api", "ops", "admin"},
    "src/http": {"base", "api", "net", "admin", "http"},
    "src/hooks": {"base", "api", "net", "shard", "hooks"},
    "src/io": {"base", "raft", "storage", "net", "shard", "io"},
}
OUR_FOLDERS = {"base", "raft", "storage", "net", "api", "stream", "shard", "ops",
               "admin", "http", "hooks", "io"}

# Libraries from outside: header pattern -> the folders that may use it ("*" is all of ours).
LIBRARIES = [
    (re.compile(r"tl/expected\.hpp$"), {"src/base"}),
    (re.compile(r"fmt/"), {"*"}),
    (re.compile(r"liburing"), {"net", "src/io"}),
    (re.compile(r"llhttp"), {"net"}),
    (re.compile(r"openssl/"), {"net", "src/hooks"}),
    (re.compile(r"curl/"), {"src/hooks"}),
    (re.compile(r"zstd"), {"storage"}),
    (re.compile(r"simdjson|rapidjson/"), {"src/stream"}),
    (re.compile(r"nlohmann/"), {"src/admin", "src/hooks", "src/http"}),
    (re.compile(r"toml\+\+|toml\.hpp|CLI/|systemd/|doctest"), set()),
]
# Costly to compile: in .cc files only.
HEAVY = re.compile(r"nlohmann/|toml\+\+|CLI/|fmt/|simdjson|rapidjson/|doctest")

# The protocol and the state machine are values: time and chance are handed to them.
PURE_FOLDERS = ("raft", "src/api", "src/stream")
IMPURE_HEADERS = {
    "chrono", "ctime", "time.h", "random", "thread", "mutex", "atomic", "condition_variable",
    "fstream", "filesystem", "unistd.h", "fcntl.h", "sys/socket.h", "sys/time.h", "sys/mman.h",
}

PRODUCT = ("src/", "raft/", "storage/", "net/")
ISLANDS = ("raft/", "storage/", "net/")
EVERYWHERE = ("src/", "raft/", "storage/", "net/", "tests/", "tools/")

# (pattern in the code without comments and strings, where, what to use instead)
BANNED = [
    (r"(?<!_)\bassert\s*\(", EVERYWHERE, "VERIFY or DVERIFY of base/verify.h (it stays on)"),
    (r"\bstd::rand\b|(?<![\w:])s?rand\s*\(", EVERYWHERE, "base/random.h: seeded state"),
    (r"\bgettimeofday\b", EVERYWHERE, "base/time.h"),
    (r"\btime\s*\(\s*(NULL|nullptr|0)\s*\)", EVERYWHERE, "base/time.h"),
    (r"\bstrcpy\b|\bstrcat\b|\bgets\s*\(", EVERYWHERE, "std::string or a span"),
    (r"\bv?sprintf\b", EVERYWHERE, "fmt::format"),
    (r"\bsystem\s*\(", PRODUCT, "nothing: the product starts no shell"),
    (r"\bstd::this_thread::sleep_(for|until)\b|\bu?sleep\s*\(", PRODUCT, "a deadline of the loop"),
    (r"\bstd::cout\b|\bstd::cerr\b", PRODUCT, "the log of base"),
    (r"\bstd::function\b", ISLANDS, "a function pointer or a template parameter"),
    (r"(?<![\w])f?printf\s*\(", ISLANDS, "the log of base; islands print nothing"),
    (r"\bstd::regex\b", PRODUCT, "a hand-written scan: std::regex recurses on its input"),
    (r"\bstd::ato[fil]+\b|\bato[fil]+\s*\(", PRODUCT, "std::from_chars, which reports errors"),
    (r"\bstd::endl\b", EVERYWHERE, "'\\n'"),
    (r"\busing\s+namespace\s+std\b", EVERYWHERE, "the std:: prefix"),
]
BANNED = [(re.compile(pattern), where, use) for pattern, where, use in BANNED]

LEFTOVER = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX"]) + r")\b")
MACHINE_PATH = re.compile(
    r"(?<![\w.])/(?:wo" + r"rk|ro" + r"ot|ho" + r"me/\w+)/|registry\.npm" + r"js|deb\.debian"
    + r"\.org|py" + r"pi\.org|crates" + r"\.io|proxy\.gol" + r"ang"
)

CPP = (".h", ".cc")
TEXT = (".h", ".cc", ".c", ".py", ".md", ".mjs", ".json", ".txt", ".toml", ".jsonl", ".yml")
SCRIPTS = {
    "tools/run", "tools/test", "tools/install-deps", "tools/measure", "tools/measure-cluster",
    "tools/measure-failover", "tools/measure-webhooks", "tools/planted-sweep", ".ci/run",
}
SKIPPED_FOLDERS = re.compile(r"^(build.*|\.git|\.cache|node_modules|__pycache__|data)$")


def is_text(path):
    name = posixpath.basename(path)
    return path.endswith(TEXT) or path in SCRIPTS or name in ("meson.build", "meson_options.txt")


def read_tree(root):
    """All text files of ours under root, as {path with '/': text}."""
    files = {}
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not SKIPPED_FOLDERS.match(name))
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")
            if is_text(path):
                with open(os.path.join(root, path), encoding="utf-8", errors="replace") as handle:
                    files[path] = handle.read()
    return files


def code_of(text):
    """C++ text with comments, strings and character literals blanked; lines stay where they are."""
    out = []
    position = 0
    end = len(text)

    def blank(until):
        nonlocal position
        out.append(re.sub(r"[^\n]", " ", text[position:until]))
        position = until

    while position < end:
        two = text[position:position + 2]
        character = text[position]
        if two == "//":
            found = text.find("\n", position)
            blank(found if found >= 0 else end)
        elif two == "/*":
            found = text.find("*/", position + 2)
            blank(found + 2 if found >= 0 else end)
        elif two == 'R"' and not text[position - 1:position].isalnum():
            opening = text.find("(", position)
            closing = ")" + text[position + 2:opening] + '"'
            found = text.find(closing, opening)
            blank(found + len(closing) if found >= 0 else end)
        elif character == '"' or (character == "'" and not text[position - 1:position].isalnum()):
            scan = position + 1
            while scan < end and text[scan] != character and text[scan] != "\n":
                scan += 2 if text[scan] == "\\" else 1
            out.append(character)
            position += 1
            blank(min(max(scan, position), end))
            if position < end and text[position] == character:
                out.append(character)
                position += 1
        else:
            out.append(character)
            position += 1
    return "".join(out)


def folder_rule(path):
    """The folder of INCLUDES that path lies in, or None where everything is allowed."""
    found = [folder for folder in INCLUDES if path.startswith(folder + "/")]
    return max(found, key=len) if found else None


INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def check_includes(path, text):
    folder = folder_rule(path)
    product = path.startswith(PRODUCT)
    for number, line in enumerate(text.split("\n"), 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        header = found.group(2)
        top = header.split("/")[0]
        if found.group(1) == '"' and (header.startswith(".") or header.startswith("src/")):
            yield number, "include", f'"{header}": write it from the root or src/, as base/x.h'
        if folder and found.group(1) == '"':
            if top not in OUR_FOLDERS or "/" not in header:
                yield number, "include", f'{folder} may not include "{header}"'
            elif top not in INCLUDES[folder]:
                allowed = ", ".join(sorted(INCLUDES[folder]))
                yield number, "include", f'{folder} may include only {allowed}, not "{header}"'
        if folder:
            for pattern, folders in LIBRARIES:
                if pattern.search(header) and "*" not in folders and folder not in folders:
                    yield number, "library", f"{folder} may not use <{header}>"
        if product and path.endswith(".h") and HEAVY.search(header):
            yield number, "heavy-header", f"<{header}> belongs into a .cc file"
        if path.startswith(PURE_FOLDERS) and header in IMPURE_HEADERS:
            yield number, "pure", f"{folder} is values only: no <{header}>; hand the value in"


def check_banned(path, text):
    for number, line in enumerate(code_of(text).split("\n"), 1):
        for pattern, where, use in BANNED:
            if path.startswith(where) and pattern.search(line):
                yield number, "banned", f"{pattern.search(line).group(0).strip()}: use {use}"


def check_lines(path, text):
    limited = path.endswith((".h", ".cc", ".py")) or posixpath.basename(path) == "meson.build"
    for number, line in enumerate(text.split("\n"), 1):
        if limited and len(line) > MAX_COLUMNS:
            yield number, "columns", f"{len(line)} columns, {MAX_COLUMNS} are allowed"
        if line != line.rstrip() and not path.startswith("tests/golden/"):
            yield number, "trailing", "blanks at the end of the line"
        if LEFTOVER.search(line):
            yield number, "leftover", "finish it or file an issue"
        if MACHINE_PATH.search(line):
            yield number, "machine-path", "a path or host of one machine"
        if path.endswith(CPP) and "\t" in line:
            yield number, "tab", "use spaces"
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "trailing", "no newline at the end of the file"


QUOTED = re.compile(r"'([^'\n]+)'")


def sources_in_meson(files):
    """Every path that a meson.build names, as seen from the root."""
    named = set()
    for path, text in files.items():
        if posixpath.basename(path) != "meson.build":
            continue
        folder = posixpath.dirname(path)
        code = "\n".join(line.split("#")[0] for line in text.split("\n"))
        # A loop may spell a source as name + '_test.cc'.
        endings = [""] + re.findall(r"\+ *'(\w*\.cc)'", code)
        for token in QUOTED.findall(code):
            for ending in endings:
                named.add(posixpath.normpath(posixpath.join(folder, token + ending)))
            named.add(posixpath.normpath(token))
    return named


def check_built(files):
    named = sources_in_meson(files)
    for path in files:
        if path.endswith(".cc") and path not in named:
            yield Finding(path, 1, "unbuilt", "no meson.build names this file")


ARCHITECTURE_FILE = re.compile(
    r"`((?:src|raft|storage|net|tests|tools|s3|packaging)/[\w./+-]*\w/?)`"
)


def check_architecture(files):
    text = files.get("ARCHITECTURE.md")
    if text is None:
        yield Finding("ARCHITECTURE.md", 1, "architecture", "the file is missing")
        return
    folders = {posixpath.dirname(path) for path in files}
    folders |= {posixpath.dirname(folder) for folder in folders}
    count = 0
    for number, line in enumerate(text.split("\n"), 1):
        for name in ARCHITECTURE_FILE.findall(line):
            count += 1
            bare = name.rstrip("/")
            # `raft/group` stands for the pair group.h and group.cc.
            if not any(bare + ending in files for ending in ("", ".h", ".cc", "/meson.build")):
                if bare not in folders:
                    yield Finding(
                        "ARCHITECTURE.md", number, "architecture", f"{name} does not exist"
                    )
    if count == 0:
        yield Finding("ARCHITECTURE.md", 1, "architecture", "it names no file")


def read_runnable(root, files):
    """Those of the files that may be started."""
    return {path for path in files if os.access(os.path.join(root, path), os.X_OK)}


def check_runnable(files, runnable):
    for path, text in files.items():
        if text.startswith("#!") != (path in runnable):
            yield Finding(path, 1, "runnable", "'#!' and the mode x go together: chmod +x or -x")


def check_tree(files, runnable=frozenset()):
    """All findings of all rules over {path: text}."""
    findings = list(check_runnable(files, runnable))
    for path, text in files.items():
        rules = [check_lines]
        if path.endswith(CPP):
            rules += [check_includes, check_banned]
        for rule in rules:
            findings += [Finding(path, *found) for found in rule(path, text)]
        if path.endswith(".h") and "#pragma once" not in text.split("\n"):
            findings.append(Finding(path, 1, "pragma-once", "a header begins with #pragma once"))
    findings += check_built(files)
    findings += check_architecture(files)
    return sorted(findings)


# --- The test of the tidy test ------------------------------------------------------------------

ARCHITECTURE_OK = {"ARCHITECTURE.md": "An append starts in `src/m.cc`.\n"}
MESON_OK = {
    "src/meson.build": "x = executable('x', 'm.cc', 'http/a.cc', 'stream/a.cc')\n",
    "raft/meson.build": "static_library('raft', 'a.cc')\n",
    "storage/meson.build": "static_library('storage', 'a.cc')\n",
    "net/meson.build": "static_library('net', 'a.cc')\n",
    "tests/meson.build": "executable('t', 'a.cc', link_with: [])\n",
    "src/m.cc": "int main() { return 0; }\n",
}
LEFT = "TO" + "DO"

# (the rule that must report exactly these lines, {path: text}); lines [] means: nothing at all.
CASES = [
    ("include", {"raft/a.cc": '#include "storage/wal.h"\n'}, [1]),
    ("include", {"raft/a.cc": '#include "base/ids.h"\n#include "raft/group.h"\n'}, []),
    ("include", {"net/a.cc": '#include "raft/group.h"\n'}, [1]),
    ("include", {"storage/a.cc": '\n#include "stream/machine.h"\n'}, [2]),
    ("include", {"src/http/a.cc": '#include "shard/shard.h"\n'}, [1]),
    ("include", {"src/stream/a.cc": '#include "net/ring.h"\n'}, [1]),
    ("include", {"src/stream/a.cc": '#include "loop.h"\n'}, [1]),
    ("include", {"src/m.cc": '#include "shard/shard.h"\n#include "loop.h"\n'}, []),
    ("include", {"src/m.cc": '#include "../net/ring.h"\n'}, [1]),
    ("include", {"src/m.cc": '#include "src/base/ids.h"\n'}, [1]),
    ("include", {"tests/a.cc": '#include "shard/shard.h"\n'}, []),
    ("library", {"raft/a.cc": "#include <liburing.h>\n"}, [1]),
    ("library", {"storage/a.cc": "#include <llhttp.h>\n"}, [1]),
    ("library", {"src/stream/a.cc": "#include <nlohmann/json.hpp>\n"}, [1]),
    ("library", {"net/a.cc": "#include <liburing.h>\n#include <llhttp.h>\n"}, []),
    ("library", {"raft/a.cc": "#include <fmt/format.h>\n"}, []),
    ("heavy-header", {"net/a.h": "#pragma once\n#include <fmt/format.h>\n"}, [2]),
    ("heavy-header", {"src/c.h": "#pragma once\n#include <toml++/toml.h>\n"}, [2]),
    ("pure", {"raft/a.cc": "#include <chrono>\n"}, [1]),
    ("pure", {"src/stream/a.cc": "#include <random>\n"}, [1]),
    ("pure", {"net/a.cc": "#include <chrono>\n"}, []),
    ("banned", {"net/a.cc": "void f() { assert(1 == 1); }\n"}, [1]),
    ("banned", {"net/a.cc": "static_assert(sizeof(int) == 4);\n"}, []),
    ("banned", {"net/a.cc": '// assert(no)\nauto x = "assert(no)"; /* rand() */\n'}, []),
    ("banned", {"net/a.cc": 'auto x = R"(assert(no))";\nauto y = 1\'000; assert(y);\n'}, [2]),
    ("banned", {"tests/a.cc": "int x = rand();\nint y = std::rand();\n"}, [1, 2]),
    ("banned", {"tests/a.cc": "int x = operand(1); int z = my.brand(2);\n"}, []),
    ("banned", {"src/m.cc": "gettimeofday(&tv, nullptr);\n"}, [1]),
    ("banned", {"src/m.cc": "auto t = time(NULL);\nauto u = ::time(nullptr);\n"}, [1, 2]),
    ("banned", {"src/m.cc": "std::this_thread::sleep_for(1s);\n"}, [1]),
    ("banned", {"tests/a.cc": "std::this_thread::sleep_for(1s);\n"}, []),
    ("banned", {"src/m.cc": "strcpy(a, b);\nsprintf(a, b);\n"}, [1, 2]),
    ("banned", {"src/m.cc": "snprintf(a, 1, b);\nfprintf(stderr, a);\n"}, []),
    ("banned", {"src/m.cc": 'system("x");\nstd::system("y");\n'}, [1, 2]),
    ("banned", {"src/m.cc": "std::cout << 1;\n"}, [1]),
    ("banned", {"raft/a.cc": "std::function<void()> f;\n"}, [1]),
    ("banned", {"src/m.cc": "std::function<void()> f;\n"}, []),
    ("banned", {"net/a.cc": 'printf("x");\nfprintf(stderr, "x");\n'}, [1, 2]),
    ("banned", {"src/m.cc": "out << std::endl;\n"}, [1]),
    ("banned", {"src/m.cc": "int x = atoi(s);\n"}, [1]),
    ("banned", {"src/m.cc": "std::regex r;\n"}, [1]),
    ("banned", {"src/m.cc": "using namespace std;\n"}, [1]),
    ("columns", {"net/a.cc": "// " + "x" * 97 + "\n// " + "x" * 98 + "\n"}, [2]),
    ("columns", {"tests/x.py": "#" + "x" * 100 + "\n"}, [1]),
    ("columns", {"docs.md": "x" * 200 + "\n"}, []),
    ("trailing", {"net/a.cc": "int a; \nint b;\n"}, [1]),
    ("trailing", {"net/a.cc": "int a;"}, [1]),
    ("trailing", {"tests/golden/http/a.txt": "HTTP/1.1 200 \n"}, []),
    ("tab", {"net/a.cc": "\tint a;\n"}, [1]),
    ("leftover", {"net/a.cc": "// " + LEFT + ": later\n"}, [1]),
    ("leftover", {"net/a.cc": 'auto x = "/tmp/ursula-XXXXXX";\n'}, []),
    ("machine-path", {"tools/x.py": "p = '/ho" + "me/me/x'\n"}, [1]),
    ("machine-path", {"README.md": "see /wo" + "rk/main/x\n"}, [1]),
    ("machine-path", {"README.md": "GET /v1/stream/ro" + "ot and a framewo" + "rk/x\n"}, []),
    ("pragma-once", {"net/a.h": "int a;\n"}, [1]),
    ("pragma-once", {"net/a.h": "// Why.\n#pragma once\n"}, []),
    ("unbuilt", {"net/b.cc": "int a;\n"}, [1]),
    ("unbuilt", {"net/b.cc": "int a;\n", "net/meson.build": "# 'b.cc'\nx = ['a.cc']\n"}, [1]),
    ("unbuilt", {"net/b.cc": "int a;\n", "meson.build": "x = ['net/b.cc']\n"}, []),
    ("unbuilt", {"net/b.cc": "int a;\n", "net/meson.build": "['a.cc', 'b'] + '.cc'\n"}, []),
    ("architecture", {"ARCHITECTURE.md": "see `src/gone.cc`\n"}, [1]),
    ("architecture", {"ARCHITECTURE.md": "see `src/m.cc`, `src/m`, `src/` and `a b`\n"}, []),
    ("architecture", {"ARCHITECTURE.md": "names nothing\n"}, [1]),
    ("architecture", {"ARCHITECTURE.md": None}, [1]),
    ("runnable", {"tests/x.py": "#!/usr/bin/env python3\n"}, [1]),
    ("runnable", {"tests/x.py": "import os\n"}, []),
]


def self_test():
    """Returns (passed, [what went wrong])."""
    passed = 0
    wrong = []
    for number, (rule, snippet, lines) in enumerate(CASES, 1):
        files = {**MESON_OK, **ARCHITECTURE_OK, **snippet}
        files = {path: text for path, text in files.items() if text is not None}
        findings = check_tree(files)
        got = [found.line for found in findings if found.rule == rule]
        others = [found for found in findings if found.rule != rule and not lines]
        if got == lines and not others:
            passed += 1
        else:
            wrong.append(f"self-test {number} ({rule}): expected lines {lines}, got {findings}")
    tried = {rule for rule, _, lines in CASES if lines}
    missing = {
        "include", "library", "heavy-header", "pure", "banned", "columns", "trailing", "tab",
        "leftover", "machine-path", "pragma-once", "unbuilt", "architecture", "runnable",
    } - tried
    if missing:
        wrong.append(f"self-test: no bad snippet for {sorted(missing)}")
    return passed, wrong


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(here))
    passed, wrong = self_test()
    files = read_tree(root)
    findings = check_tree(files, read_runnable(root, files))
    if len(files) < 20:
        wrong.append(f"only {len(files)} files under {root}")
    for line in wrong:
        print(line)
    for found in findings:
        print(f"{found.path}:{found.line}: {found.rule}: {found.message}")
    dirty = {found.path for found in findings}
    clean = sum(1 for path in files if path not in dirty)
    print(f"{len(files)} files, {len(dirty)} with findings; {passed} self-tests")
    print(f"{passed + clean} passed, {len(wrong) + len(dirty)} failed")
    return 1 if wrong or findings else 0


if __name__ == "__main__":
    sys.exit(main())
