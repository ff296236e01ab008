/** A state of the matcher: the next state for a character, and one that needs no character. */
interface Step {
  to: (char: string) => number | undefined;
  skip?: number;
}

export interface GlobMatcher {
  (path: string): boolean;
  /** Whether a path below the folder could match. */
  mayMatchBelow(folder: string): boolean;
}

/**
 * Matches paths of files against one glob: `*` and `?` within a name, `**` across folders, `[a-z]`
 * and `[!a-z]`. A path below a folder that matches is matched too.
 *
 * It follows all ways through the glob at once (an automaton): a regular expression tries one after
 * the other, which takes practically forever for a glob with a few stars.
 */
export function globMatcher(glob: string): GlobMatcher {
  const steps = stepsOf([...glob]);
  const end = steps.length;
  const reach = (at: number | undefined, reached: Set<number>) => {
    for (; at !== undefined && !reached.has(at); at = steps[at]?.skip) reached.add(at);
  };
  /** The states that a path leads to; undefined where a folder on its way has matched. */
  const after = (path: string): Set<number> | undefined => {
    let here = new Set<number>();
    reach(0, here);
    for (const char of path) {
      if (char === "/" && here.has(end)) return undefined;
      const next = new Set<number>();
      for (const at of here) reach(steps[at]?.to(char), next);
      if (next.size === 0) return next;
      here = next;
    }
    return here;
  };
  return Object.assign((path: string) => after(path)?.has(end) ?? true, {
    mayMatchBelow: (folder: string) => after(`${folder}/`)?.size !== 0,
  });
}

function stepsOf(glob: string[]): Step[] {
  const steps: Step[] = [];
  const one = (fits: (char: string) => boolean) => {
    const next = steps.length + 1;
    steps.push({ to: (char) => fits(char) ? next : undefined });
  };
  const any = (fits: (char: string) => boolean) => {
    const at = steps.length;
    steps.push({ to: (char) => fits(char) ? at : undefined, skip: at + 1 });
  };
  const inName = (char: string) => char !== "/";
  for (let i = 0; i < glob.length; i++) {
    const char = glob[i]!;
    const classEnd = char === "[" ? glob.indexOf("]", i + 2) : -1;
    if (char === "*" && glob[i + 1] === "*" && glob[i + 2] === "/") {
      // Whole folders: before one, and in its name.
      const at = steps.length;
      steps.push({ to: (char) => inName(char) ? at + 1 : undefined, skip: at + 2 });
      steps.push({ to: (char) => inName(char) ? at + 1 : at });
      i += 2;
    } else if (char === "*" && glob[i + 1] === "*") {
      any(() => true);
      i += 1;
    } else if (char === "*") any(inName);
    else if (char === "?") one(inName);
    else if (classEnd > 0) {
      one(charClass(glob.slice(i + 1, classEnd)));
      i = classEnd;
    } else one((other) => other === char);
  }
  return steps;
}

/** A glob without leading `./`, trailing slash or double slashes. */
export function normalizeGlob(glob: string): string {
  return glob.replaceAll(/\/+/g, "/").replace(/^(\.\/)+/, "").replace(/\/(\.\/)+/g, "/")
    .replace(/\/$/, "");
}

/** The folder above the first wildcard, where the search starts. */
export function fixedFolder(glob: string): string {
  const parts = glob.split("/");
  const wild = parts.findIndex((part) => /[*?\[]/.test(part));
  return parts.slice(0, wild < 0 ? parts.length : wild).join("/");
}

/** Whether a glob would leave the task's folder. */
export function leavesFolder(glob: string): boolean {
  return glob.startsWith("/") || glob.split("/").includes("..");
}

/** A character class of a glob; a reversed range means its three characters. */
function charClass(text: string[]): (char: string) => boolean {
  const isNegated = text[0] === "!";
  const chars = text.slice(isNegated ? 1 : 0);
  const code = (char: string) => char.codePointAt(0)!;
  const ranges: [number, number][] = [];
  for (let i = 0; i < chars.length; i++) {
    const first = code(chars[i]!);
    const last = chars[i + 1] === "-" && i + 2 < chars.length ? code(chars[i + 2]!) : -1;
    if (last >= first) i += 2;
    ranges.push([first, Math.max(first, last)]);
  }
  return (char) => {
    if (char === "/") return false;
    return isNegated !== ranges.some(([first, last]) => first <= code(char) && code(char) <= last);
  };
}
