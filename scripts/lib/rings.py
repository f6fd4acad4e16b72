#!/usr/bin/env python3
"""Finds files of src/relay that call each other, directly or round a ring of several: calls there go one way.

A file uses another if it names one of its items (in a `use`, or by path), wherever modules re-export it; or if it
calls a method that the other one defines, on something that is declared to be of the method's type. Tests inside the
files do not count, nor do modules' re-exports. Prints the pairs, then larger rings, then what goes up the list of files
in docs/architecture.md, and ends with 1 if there is any of these.

    scripts/lib/rings.py            the rings
    scripts/lib/rings.py --edges    who uses whom, and by which names
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOP = ("crate", "relay")
FOLDER = os.path.join(ROOT, "src", "relay")
ITEM = re.compile(r"^(?:pub(?:\([^)]*\))? )?(?:const fn|fn|struct|enum|trait|type|const|static|union) (\w+)", re.M)
BITFLAGS = re.compile(r"^    pub struct (\w+): u\d+ \{", re.M)
MODULE = re.compile(r"^(?:pub(?:\([^)]*\))? )?mod (\w+);", re.M)
USE = re.compile(r"^(\s*)(pub(?:\([^)]*\))? )?use ([^;]+);", re.M)
IMPL = re.compile(r"^impl(?:<[^{]*?>)? (?:[\w:]+(?:<[^{]*?>)? for )?(\w+)(?:<[^{]*?>)?[^{]*\{\n(.*?)^\}", re.M | re.S)
METHOD = re.compile(r"^    (?:pub(?:\([^)]*\))? )?(?:const )?fn (\w+)[^(]*\((?:[^)]*?)\bself\b", re.M | re.S)
PATH = re.compile(r"\b((?:super::|crate::relay::)(?:\w+::)*\w+)")
DECLARED = re.compile(r"\b(\w+): (?:&(?:'\w+ )?)?(?:mut )?(?:Arc<|Box<|Option<)?(?:&(?:'\w+ )?)?(?:mut )?(\w+)")
CALL = re.compile(r"\b(\w+)\??\s*\.(\w+)\(")


def source(path):
    """A file's text without its tests, comments and strings."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"^#\[cfg\((?:test|all\(test[^\n]*)\)\]\nmod tests \{.*?^\}", "", text, flags=re.M | re.S)
    text = re.sub(r"//[^\n]*", "", text)
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)


def modules():
    """Every file below the folder: its module's path, its name, its text."""
    found = {}
    for folder, _, names in os.walk(FOLDER):
        for name in sorted(names):
            if name.endswith(".rs"):
                path = os.path.join(folder, name)
                file = os.path.relpath(path, FOLDER)
                parts = file[:-3].split(os.sep)
                found[TOP + tuple(part for part in parts if part != "mod")] = (file, source(path))
    return found


def spread(tree):
    """The paths in a `use`, each with the name that it gets."""
    tree = " ".join(tree.split())
    brace = tree.find("{")
    if brace < 0:
        path, _, alias = tree.partition(" as ")
        parts = tuple(part.strip() for part in path.split("::") if part.strip())
        if parts and parts[-1] == "self":
            parts = parts[:-1]
        return [(parts, alias or parts[-1])] if parts else []
    head = tuple(part.strip() for part in tree[:brace].split("::") if part.strip())
    inner, depth, start, found = tree[brace + 1:tree.rindex("}")], 0, 0, []
    for at, letter in enumerate(inner + ","):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            found += [(head + parts, name) for parts, name in spread(inner[start:at])]
            start = at + 1
    return [(path[:-1] if path[-1] == "self" else path, path[-2] if path[-1] == "self" else name)
            for path, name in found]


def absolute(path, module):
    """A path from the crate's root."""
    while path and path[0] in ("super", "self"):
        module = module[:-1] if path[0] == "super" else module
        path = path[1:]
        if not path or path[0] not in ("super", "self"):
            return module + path
    return path


class Relay:
    """What the files define, re-export and declare."""

    def __init__(self):
        self.modules = modules()
        self.items, self.exports, self.methods, self.typed = {}, {}, {}, {}
        for module, (file, text) in self.modules.items():
            for name in ITEM.findall(text) + BITFLAGS.findall(text):
                self.items[module + (name,)] = file
            for _, public, tree in USE.findall(text):
                for path, name in spread(tree):
                    if public:
                        first = path if path[0] in ("crate", "super", "self") else ("self",) + path
                        self.exports[module + (name,)] = absolute(first, module)
            for owner, body in IMPL.findall(text):
                for name in METHOD.findall(body):
                    self.methods.setdefault((owner, name), set()).add(file)
        owners = {owner for owner, _ in self.methods}
        for _, text in self.modules.values():
            for name, owner in DECLARED.findall(text):
                if owner in owners and name != "self":
                    self.typed.setdefault(name, set()).add(owner)
        for owner in owners:
            self.typed.setdefault(owner.lower(), set()).add(owner)

    def file_of(self, path):
        """The file that defines what a path names."""
        for _ in range(8):
            if path in self.items:
                return self.items[path]
            # The item behind a re-export, or behind a module that was imported by its name.
            for cut in range(len(path), len(TOP), -1):
                if path[:cut] in self.exports:
                    path = self.exports[path[:cut]] + path[cut:]
                    break
            else:
                # An associated item or a variant belongs to its type; a module alone is no use of it.
                path = path[:-1]
                if path in self.modules or len(path) <= len(TOP):
                    return None
        return None

    def names(self, module, text):
        """The paths that a file names: by `use`, by path, and through modules that it has imported."""
        body, aliases = USE.sub("", text), {name: module + (name,) for name in MODULE.findall(text)}
        for _, public, tree in USE.findall(text):
            for path, name in spread(tree):
                path = absolute(path if path[0] in ("crate", "super", "self") else path, module)
                if path[0] != "crate" and module + path[:1] in self.modules:
                    path = module + path
                if path[0] != "crate" or path[:2] != TOP:
                    continue
                if path in self.modules:
                    aliases[name] = path
                if not public or re.search(rf"\b{name}\b", body):
                    yield path
        for path in PATH.findall(body):
            yield absolute(tuple(path.split("::")), module)
        for name, path in aliases.items():
            for rest in re.findall(rf"(?<![\w:]){name}::((?:\w+::)*\w+)", body):
                yield path + tuple(rest.split("::"))

    def uses(self):
        """For each file, the others that it uses, with the names."""
        used = {}
        for module, (file, text) in self.modules.items():
            found = used.setdefault(file, {})
            for path in self.names(module, text):
                other = self.file_of(path)
                if other and other != file:
                    found.setdefault(other, set()).add(path[-1])
            impls = {owner for owner, _ in IMPL.findall(text)}
            for receiver, name in CALL.findall(text):
                for owner in impls if receiver == "self" else self.typed.get(receiver, ()):
                    others = self.methods.get((owner, name), set())
                    if len(others) == 1 and file not in others:
                        found.setdefault(next(iter(others)), set()).add(f".{name}()")
        return used


def ring(used, start):
    """The shortest way from a file back to itself, if there is one."""
    ways, seen = [[start]], set()
    while ways:
        way = ways.pop(0)
        for other in sorted(used.get(way[-1], ())):
            if other == start:
                return way
            if other not in seen:
                seen.add(other)
                ways.append(way + [other])
    return None


def order():
    """The place of each file in the list of docs/architecture.md."""
    with open(os.path.join(ROOT, "docs", "architecture.md"), encoding="utf-8") as file:
        table = file.read().split("| file of `src/relay/` |")[1].split("\n## ")[0]
    firsts = [line.split(" | ")[0] for line in table.splitlines()]
    return {file: at for at, file in enumerate(re.findall(r"`(\S+\.rs)`", " ".join(firsts)))}


def main():
    used = Relay().uses()
    if "--edges" in sys.argv:
        for file in sorted(used):
            for other in sorted(used[file]):
                print(f"{file} -> {other}: {', '.join(sorted(used[file][other]))}")
        return 0
    found = {}
    for file in sorted(used):
        way = ring(used, file)
        if way:
            found.setdefault(frozenset(way), way)
    for way in sorted(found.values(), key=len):
        print(" -> ".join(way + way[:1]))
        for file, other in zip(way, way[1:] + way[:1]):
            print(f"    {file} uses {other}: {', '.join(sorted(used[file][other]))}")
    place = order()
    up = [(file, other) for file in sorted(used) for other in sorted(used[file])
          if not found and file in place and other in place and place[file] > place[other]]
    for file, other in up:
        print(f"{file} stands below {other}, which it uses: {', '.join(sorted(used[file][other]))}")
    if not found and not up:
        print(f"{len(used)} files, {sum(map(len, used.values()))} uses, no ring, none upwards")
    return 1 if found or up else 0


if __name__ == "__main__":
    sys.exit(main())
