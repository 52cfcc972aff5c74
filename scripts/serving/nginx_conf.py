"""Reads an nginx.conf as far as scripts/serve must know it, and changes words of it in place.

For: finding pools, listens and a few main settings, includes followed; making a copy with the same line numbers.
Not for: checking a configuration. nginx -t does that, and its messages are the ones an operator should see.
"""

import dataclasses
import glob
import os
import re

# nginx's own lexer: a word may be quoted at its start only; a backslash keeps the next byte from ending a word.
TOKEN = re.compile(
    r"""(?P<space>\s+) | (?P<comment>\#[^\n]*) | (?P<mark>[{};])
      | (?P<quoted>"(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*')
      | (?P<word>(?:\$\{[^}\n]*\} | \\. | [^\s{};\\])+)""",
    re.VERBOSE | re.DOTALL,
)
MAX_INCLUDE_DEPTH = 16


class ConfError(Exception):
    """The file cannot be read; the text is for the operator."""


@dataclasses.dataclass
class Word:
    text: str
    start: int
    end: int


@dataclasses.dataclass
class Directive:
    name: str
    arguments: list  # of Word
    path: str  # the file it stands in
    line: int
    block: list = None  # of Directive, where it has a { }
    brace: int = None  # offset right behind its {

    def values(self):
        return [word.text for word in self.arguments]

    def find(self, name):
        """All directives of that name in this block and in the blocks inside it."""
        for child in self.block or []:
            if child.name == name:
                yield child
            yield from child.find(name)


def _tokens(text, path):
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if not match:
            line = text.count("\n", 0, position) + 1
            raise ConfError(f"{path}:{line}: unexpected {text[position]!r}")
        position = match.end()
        if match.lastgroup not in ("space", "comment"):
            yield match.lastgroup, match.group(), match.start(), match.end()


def _unquote(kind, text):
    return re.sub(r"""\\(["'\\])""", r"\1", text[1:-1]) if kind == "quoted" else text


def _parse(path, conf_folder, depth):
    if depth > MAX_INCLUDE_DEPTH:
        raise ConfError(f"{path}: includes are nested more than {MAX_INCLUDE_DEPTH} deep")
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError as error:
        raise ConfError(f"{path}: {error.strerror}") from None
    root = Directive("", [], path, 1, [])
    open_blocks, words = [root], []
    for kind, token, start, end in _tokens(text, path):
        if kind != "mark":
            words.append(Word(_unquote(kind, token), start, end))
            continue
        line = text.count("\n", 0, words[0].start if words else start) + 1
        if token == "}":
            if len(open_blocks) == 1 or words:
                raise ConfError(f"{path}:{line}: unexpected '}}'")
            open_blocks.pop()
        elif not words:
            raise ConfError(f"{path}:{line}: unexpected {token!r}")
        else:
            directive = Directive(words[0].text, words[1:], path, line)
            words = []
            open_blocks[-1].block.append(directive)
            if token == "{":
                directive.block, directive.brace = [], end
                open_blocks.append(directive)
            elif directive.name == "include" and len(directive.arguments) == 1:
                pattern = os.path.join(conf_folder, directive.arguments[0].text)
                for included in sorted(glob.glob(pattern)) or [pattern] * (not glob.has_magic(pattern)):
                    open_blocks[-1].block.extend(_parse(included, conf_folder, depth + 1)[0].block)
    if len(open_blocks) > 1 or words:
        raise ConfError(f"{path}: unexpected end of file, a '}}' or ';' is missing")
    return root, text


@dataclasses.dataclass
class Listen:
    word: Word  # the address
    path: str
    host: str  # "" for all addresses
    port: int
    options: list

    @property
    def tls(self):
        return "ssl" in self.options

    @property
    def plain(self):
        """HTTP/1.1 without TLS: what a probe can speak. nginx 1.22 speaks h2 alone on a plain `http2` port."""
        return not {"ssl", "http2", "quic", "proxy_protocol"} & set(self.options)


@dataclasses.dataclass
class Pool:
    name: str
    socket: str  # as written


class NginxConf:
    def __init__(self, path):
        self.path = os.path.abspath(path)
        self.folder = os.path.dirname(self.path)
        self.root, self.text = _parse(self.path, self.folder, 0)

    def main(self, name):
        """The directive of that name outside all blocks, or None."""
        return next((d for d in self.root.block if d.name == name), None)

    @property
    def http(self):
        return self.main("http")

    def files(self):
        """Every file that was read."""
        paths = {self.path}
        pending = list(self.root.block)
        while pending:
            directive = pending.pop()
            paths.add(directive.path)
            pending.extend(directive.block or [])
        return sorted(paths)

    def pools(self):
        for directive in self.root.find("sonogate_pool"):
            name = directive.arguments[0].text if directive.arguments else ""
            socket = next((d.arguments[0].text for d in directive.block or [] if d.name == "socket" and d.arguments), None)
            if name and socket:
                yield Pool(name, socket)

    def listens(self):
        """Every TCP listen; unix sockets are left out."""
        for directive in self.root.find("listen"):
            if not directive.arguments or directive.arguments[0].text.startswith("unix:"):
                continue
            word = directive.arguments[0]
            match = re.fullmatch(r"(?:(?P<host>\[[^\]]*\]|[^:\[\]]*):)?(?P<port>\d+)", word.text)
            host, port = (match["host"] or "", int(match["port"])) if match else (word.text, 80)
            host = "" if host == "*" else host.strip("[]")
            yield Listen(word, directive.path, host, port, directive.values()[1:])

    def user(self):
        """Who nginx's workers are when its master is root."""
        directive = self.main("user")
        return directive.arguments[0].text if directive and directive.arguments else "nobody"

    def edited(self, edits):
        """The text of the main file with edits [(start, end, new)] made; none may hold a line break."""
        text = self.text
        for start, end, new in sorted(edits, reverse=True):
            assert "\n" not in new
            text = text[:start] + new + text[end:]
        return text
