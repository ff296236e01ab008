import { join } from "node:path";
import type { InstallPki } from "../../src/pki/operations/install.ts";
import { provePair } from "../../src/tls/prove.ts";
import type { Detected } from "../../src/pki/directory/detect.ts";

/** A folder for TLS directories; disposal removes it. */
export interface TlsLab extends AsyncDisposable {
  path: string;
  /** A path below it. */
  at: (...names: string[]) => string;
  /** The TLS directory of a host with this name; it detects nothing of this machine. */
  host: (
    name: string,
    options?: Partial<InstallPki> & { detected?: Partial<Detected> },
  ) => InstallPki;
}

export async function tlsLab(): Promise<TlsLab> {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "agent-tls-" }));
  const at = (...names: string[]) => join(path, ...names);
  return {
    path,
    at,
    host: (name, { detected, ...options } = {}) => ({
      root: at(name, "tls"),
      now: () => Date.now(),
      prove: provePair,
      detect: () => ({
        hostname: name,
        hostnames: [name, `${name}.lan`],
        ips: [],
        leftOut: [],
        ...detected,
      }),
      ...options,
    }),
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

export const dayMs = 86_400_000;

/** The mode of a file or folder: `0o600`. */
export async function modeOf(path: string): Promise<number> {
  return (await Deno.stat(path)).mode! & 0o777;
}

/** Runs a program and returns its output; throws with its stderr unless it exits 0. */
export async function output(command: string, args: string[], cwd?: string): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args,
    stdin: "null",
    ...cwd === undefined ? {} : { cwd },
  }).output();
  const decoder = new TextDecoder();
  if (code !== 0) {
    throw new Error(`${command} ${args.join(" ")} ended with ${code}: ${decoder.decode(stderr)}`);
  }
  return decoder.decode(stdout) + decoder.decode(stderr);
}
