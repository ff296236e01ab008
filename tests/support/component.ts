import { join } from "node:path";

/** Returns why a component cannot be used here, or undefined if it can. */
export type Check = () => string | undefined | Promise<string | undefined>;

/**
 * Checks whether a real component is available. Spread the result into the test:
 *
 *     const sshd = await component("sshd", programs("sshd", "ip"));
 *     Deno.test({ name: "…", ...sshd, fn: … });
 *
 * If the component is missing, the reason is reported and its tests count as skipped.
 */
export async function component(name: string, ...checks: Check[]): Promise<{ ignore: boolean }> {
  for (const check of checks) {
    const reason = await check();
    if (reason === undefined) continue;
    await reportSkip(`${name}: ${reason}`);
    return { ignore: true };
  }
  return { ignore: false };
}

/** The programs are on PATH or in the folders of system programs. */
export function programs(...names: string[]): Check {
  return async () => {
    const missing = [];
    for (const name of names) if (await findProgram(name) === undefined) missing.push(name);
    return missing.length === 0 ? undefined : `not installed: ${missing.join(", ")}`;
  };
}

/** The tests run as root. */
export const asRoot: Check = () => Deno.uid() === 0 ? undefined : "needs root";

/** This user can make network namespaces. */
export const networkNamespaces: Check = async () => {
  if (await findProgram("unshare") === undefined) return "not installed: unshare";
  const tried = await new Deno.Command("unshare", { args: ["-n", "true"], stderr: "piped" })
    .output();
  return tried.success ? undefined : new TextDecoder().decode(tried.stderr).trim();
};

/** The path of a program on PATH or in the folders of system programs. */
export async function findProgram(name: string): Promise<string | undefined> {
  const folders = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/sbin"];
  for (const folder of folders) {
    const path = join(folder, name);
    try {
      const facts = await Deno.stat(path);
      if (facts.isFile && ((facts.mode ?? 0) & 0o111) !== 0) return path;
    } catch {
      continue; // Not here: the next folder may have it.
    }
  }
  return undefined;
}

/** Writes the reason to the file of scripts/test, or to stderr without one. */
async function reportSkip(text: string): Promise<void> {
  const file = Deno.env.get("AGENT_TEST_SKIPS");
  if (file === undefined) await Deno.stderr.write(new TextEncoder().encode(`skip ${text}\n`));
  else await Deno.writeTextFile(file, `${text}\n`, { append: true });
}
