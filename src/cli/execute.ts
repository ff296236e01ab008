import type { Env } from "../base/env.ts";
import { exitCode } from "../base/errors.ts";
import type { CommandSpec, Request } from "./command.ts";

/** Runs a command and prints its result; the same inside and outside a thread. */
export async function execute(
  // deno-lint-ignore no-explicit-any -- options and result are the command's own business.
  spec: CommandSpec<any, any>,
  request: Request & { env: Env },
): Promise<number> {
  const result = await spec.run(request);
  if (!spec.streams) {
    const text = request.json
      ? JSON.stringify(result ?? {}, null, 2)
      : spec.text?.(result, request);
    if (text !== undefined && text !== "") {
      await request.env.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
    }
  }
  return spec.exit?.(result) ?? exitCode.done;
}
