/**
 * How files look from outside, as one text that changes when one of them does. Links are followed, so
 * it also notices a link that changed somewhere on the path, as Kubernetes swaps a mounted secret.
 */
export function appearance(files: string[]): string {
  return files.map((file) => {
    try {
      const { dev, ino, size, mtime, ctime } = Deno.statSync(file);
      return [dev, ino, size, mtime?.getTime(), ctime?.getTime()].join();
    } catch (error) {
      return error instanceof Error ? error.name : String(error);
    }
  }).join(" ");
}
