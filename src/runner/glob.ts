/**
 * Matches paths of files against one glob: `*` and `?` within a name, `**` across folders, `[a-z]`
 * and `[!a-z]`. A path below a folder that matches is matched too.
 */
export function globToRegExp(glob: string): RegExp {
  let source = "";
  for (let i = 0; i < glob.length; i++) {
    const char = glob[i]!;
    if (char === "*") {
      if (glob.startsWith("**/", i)) {
        source += "(?:[^/]+/)*";
        i += 2;
      } else if (glob.startsWith("**", i)) {
        source += ".*";
        i += 1;
      } else source += "[^/]*";
    } else if (char === "?") source += "[^/]";
    else if (char === "[" && glob.indexOf("]", i + 2) > 0) {
      const end = glob.indexOf("]", i + 2);
      source += `(?!/)${charClass(glob.slice(i + 1, end))}`;
      i = end;
    } else source += char.replace(/[.+^${}()|\\\]\[]/, "\\$&");
  }
  return new RegExp(`^${source}(?:/.*)?$`, "s");
}

/** A glob in the one form that is compared: no `./` in front, no slash at the end, none doubled. */
export function normalizeGlob(glob: string): string {
  return glob.replaceAll(/\/+/g, "/").replace(/^(\.\/)+/, "").replace(/\/(\.\/)+/g, "/")
    .replace(/\/$/, "");
}

/** The folder above the first wildcard: where to begin looking. */
export function fixedFolder(glob: string): string {
  const parts = glob.split("/");
  const wild = parts.findIndex((part) => /[*?\[]/.test(part));
  return parts.slice(0, wild < 0 ? parts.length : wild).join("/");
}

/** Whether a glob would leave the task's folder. */
export function leavesFolder(glob: string): boolean {
  return glob.startsWith("/") || glob.split("/").includes("..");
}

/** A class of characters as globs know it; a range that is the wrong way round is three characters. */
function charClass(text: string): string {
  const negated = text.startsWith("!");
  const chars = text.slice(negated ? 1 : 0);
  const code = (at: number) => `\\u${chars.charCodeAt(at).toString(16).padStart(4, "0")}`;
  let source = "";
  for (let i = 0; i < chars.length; i++) {
    const isRange = chars[i + 1] === "-" && i + 2 < chars.length && chars[i]! <= chars[i + 2]!;
    source += isRange ? `${code(i)}-${code(i + 2)}` : code(i);
    if (isRange) i += 2;
  }
  return `[${negated ? "^" : ""}${source}]`;
}
