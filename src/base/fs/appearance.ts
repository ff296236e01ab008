/**
 * How files look from outside, as one text that changes when one of them does. Links are followed, so
 * it also notices a link that changed somewhere on the path, as Kubernetes swaps a mounted secret.
 */
export function appearance(files: string[]): string {
  return files.map((file) => {
    try {
      return appearanceOf(Deno.statSync(file));
    } catch (error) {
      return error instanceof Error ? error.name : String(error);
    }
  }).join(" ");
}

/** The same of one file that was looked at. */
export function appearanceOf({ dev, ino, size, mtime, ctime }: Deno.FileInfo): string {
  return [dev, ino, size, mtime?.getTime(), ctime?.getTime()].join();
}
