import { setMode } from "./file_permissions.ts";
import { messageOf, UserError } from "../errors.ts";
import { whyNoAccess } from "./no_access.ts";

export interface DataDirectory {
  path: string;
  /** A file that marks a folder of this program; the user of the folder makes it later. */
  sign: string;
  mode: number;
  /** The setting that names it: "worker.data_dir". */
  setting: string;
}

/**
 * Makes a folder for this program alone, with exactly that mode, or takes one that is empty or marked
 * as its own. A typing error must not change the mode of /tmp, or of /.
 *
 * @throws {UserError} where the folder holds other things, or cannot be made.
 */
export function makeDataDirectory({ path, sign, mode, setting }: DataDirectory): void {
  const next = `Name a folder of its own with --${setting.replace("_", "-")}`;
  let names: string[];
  try {
    Deno.mkdirSync(path, { recursive: true, mode });
    names = [...Deno.readDirSync(path)].map(({ name }) => name);
    // A new file system contains this folder.
    const isFree = names.every((name) => name === "lost+found");
    if (isFree || names.includes(sign)) {
      setMode(Deno.realPathSync(path), mode);
      return;
    }
  } catch (error) {
    throw unusable(path, next, error);
  }
  throw new UserError(`The data folder "${path}" holds other things, such as "${names[0]}"`, {
    next,
  });
}

function unusable(path: string, next: string, cause: unknown): UserError {
  const what = `Cannot use the data folder "${path}"`;
  const uid = Deno.uid();
  const why = whyNoAccess(path, cause, uid);
  if (why.cause !== "owner") {
    return new UserError(`${what}: ${messageOf(cause)}`, { next, cause });
  }
  const { folder, owner } = why;
  return new UserError(
    `${what}: "${folder}" belongs to user ${owner}, and this is user ${uid}`,
    { next: `Run it as user ${owner}, or: ${next}`, cause },
  );
}
