import type { Env } from "../base/env.ts";
import { exitCode } from "../base/errors.ts";
import { writeJson } from "./output/write_json.ts";
import type { CommandSpec, Request } from "./command.ts";

/** Runs a command and prints its result; the same inside and outside a thread. */
export async function execute(
  // deno-lint-ignore no-explicit-any -- options and result are the command's own business.
  spec: CommandSpec<any, any>,
  request: Request & { env: Env },
): Promise<number> {
  const result = await spec.run(request);
  if (!spec.streams) {
    const { stdout } = request.env;
    const text = request.json ? undefined : spec.text?.(result, request);
    if (request.json) await writeJson(stdout, result ?? {});
    else if (text) await stdout.write(text.endsWith("\n") ? text : `${text}\n`);
  }
  return spec.exit?.(result) ?? exitCode.done;
}
