import { basename, dirname, isAbsolute, join, relative, sep } from "node:path";

/** Whether a path is the folder or lies below it; compares the text and follows no link. */
export function isWithin(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/** Follows all links; what does not exist yet would be made in its real folder. */
export function realPath(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch {
    const folder = dirname(path);
    return folder === path ? path : join(realPath(folder), basename(path));
  }
}
