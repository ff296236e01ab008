import { fileURLToPath } from "node:url";
import manifest from "../../deno.json" with { type: "json" };

/** The version of this program, from deno.json. */
export const version: string = manifest.version;

/** scripts/compile writes the day of the commit in place of this text. */
const embeddedDay = "@day-of-the-build@";

/**
 * No host runs this version before this day, so an earlier clock is wrong. A checkout may be older
 * than the day that is used for it; then fewer wrong clocks are noticed.
 */
export const releasedOn: string = embeddedDay.startsWith("@") ? "2026-11-22" : embeddedDay;

/** scripts/compile writes the commit in place of this text. */
const embeddedCommit = "@commit-of-the-build@";

export interface Build {
  version: string;
  /** Short hash, with `-dirty` where files differed from it; absent where it is not known. */
  commit?: string;
  /** Version of the runtime. */
  deno: string;
  /** System and processor as Deno names them: `linux/x86_64`. */
  platform: string;
  /** Whether this is the executable, or runs from source. */
  compiled: boolean;
}

/** What exactly is running. From source it asks git, so only the main thread may call it. */
export async function build(): Promise<Build> {
  const compiled = Deno.build.standalone;
  const commit = compiled ? embedded() : await checkedOut();
  return {
    version,
    ...(commit === undefined ? {} : { commit }),
    deno: Deno.version.deno,
    platform: `${Deno.build.os}/${Deno.build.arch}`,
    compiled,
  };
}

function embedded(): string | undefined {
  return embeddedCommit.startsWith("@") ? undefined : embeddedCommit;
}

/** The commit of the checkout; none where there is no git, or no repository of it. */
async function checkedOut(): Promise<string | undefined> {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  try {
    const git = await new Deno.Command("git", {
      args: ["-C", root, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
      stdout: "piped",
      stderr: "null",
    }).output();
    return git.success ? new TextDecoder().decode(git.stdout).trim() : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
