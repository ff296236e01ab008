/** A small file system in memory, which a test can fill. */
export interface SmallDisk extends AsyncDisposable {
  path: string;
}

/** Undefined where only another user could mount it. */
export async function smallDisk(bytes: number): Promise<SmallDisk | undefined> {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return undefined;
  const path = await Deno.makeTempDir({ prefix: "agent-disk-" });
  const run = async (command: string, ...args: string[]) => {
    const { success, stderr } = await new Deno.Command(command, { args }).output();
    return success ? undefined : new TextDecoder().decode(stderr);
  };
  // In a container root may not mount either.
  if (await run("mount", "-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", path) !== undefined) {
    await Deno.remove(path);
    return undefined;
  }
  return {
    path,
    async [Symbol.asyncDispose]() {
      const problem = await run("umount", path);
      if (problem !== undefined) throw new Error(`Cannot unmount ${path}: ${problem}`);
      await Deno.remove(path);
    },
  };
}
