"""Source files stay small enough to be read in one sitting: 400 lines, codecs 700; functions 60 lines."""

import ast
import sys
from pathlib import Path

FILE_LIMIT, CODEC_LIMIT, FUNCTION_LIMIT = 400, 700, 60
ROOT = Path(__file__).parent.parent


def complaints(path: Path) -> list[str]:
    """What is too long in the file at `path`, a line each."""
    text = path.read_text(encoding="utf-8")
    shown = path.relative_to(ROOT)
    lines = text.count("\n")
    limit = CODEC_LIMIT if "wire" in path.parts else FILE_LIMIT
    found = [f"{shown}: {lines} lines, {limit} are allowed"] if lines > limit else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LIMIT:
                found.append(f"{shown}:{node.lineno}: {node.name} has {length} lines, {FUNCTION_LIMIT} are allowed")
    return found


def main() -> int:
    """Print every complaint; 1 when there is one."""
    found = [line for path in sorted((ROOT / "src").rglob("*.py")) for line in complaints(path)]
    print("\n".join(found) or "Sizes: all files and functions are within their limits.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
