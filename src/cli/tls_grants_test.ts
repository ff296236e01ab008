import assert from "node:assert/strict";
import { join } from "node:path";
import { temporaryFolder } from "../../tests/support/temporary.ts";
import type { Env } from "../base/env.ts";
import { isWithin } from "../base/fs/paths.ts";
import { loadConfig } from "../config/load.ts";
import { noGrants } from "../sandbox/grants.ts";
import { parse } from "./parse.ts";
import { loadCommand, registry } from "./registry.ts";

interface Expected {
  words: string[];
  /** Files and folders beyond the TLS directory, below the working folder unless absolute. */
  read?: string[];
  write?: string[];
  run?: string[];
}

/** Every `tls` command, with what it is to have besides the TLS directory and what that leads to. */
const commands: Record<string, Expected> = {
  "tls init": { words: [] },
  "tls mint": { words: ["-o", "out", "--csr", "a.csr"], read: ["a.csr"], write: ["out"] },
  "tls install": {
    words: ["--cert", "a.crt", "--key", "a.key", "--ca", "ca.crt"],
    read: ["a.crt", "a.key", "ca.crt"],
  },
  "tls status": { words: [] },
  "tls request": { words: ["-o", "a.csr"], write: ["a.csr", ".a.csr.new"] },
  "tls renew": { words: [] },
  "tls enable": { words: [] },
  "tls disable": { words: [] },
  "tls export-ca": { words: ["-o", "ca.crt"], write: ["ca.crt", ".ca.crt.new"] },
  "tls import-ca": { words: ["other.crt"], read: ["other.crt"] },
  "tls deploy": {
    words: ["gpu1"],
    read: ["CONFIG"],
    write: ["CONFIG/token", "CONFIG/.token.new", `/tmp/agent-deploy-${Deno.pid}`],
    run: ["ssh"],
  },
  "tls trust-system": { words: [] },
  "tls clean": { words: [] },
};

Deno.test("a tls command may touch the TLS directory, what that leads to, and what is named", async () => {
  assert.deepEqual(
    Object.keys(registry).filter((path) => path.startsWith("tls ")).toSorted(),
    Object.keys(commands).toSorted(),
  );
  await using folder = await temporaryFolder();
  const path = await Deno.realPath(folder.path);
  const configRoot = join(path, "config");
  const root = join(configRoot, "tls");
  const medium = join(path, "medium", "ca.key");
  await Deno.mkdir(root, { recursive: true });
  await Deno.writeTextFile(join(root, "config.yaml"), `ca_key: ${medium}\n`);
  const env = { configRoot, variable: () => undefined } as unknown as Env;
  const absolute = (name: string) =>
    name.startsWith("CONFIG") ? name.replace("CONFIG", configRoot) : join(Deno.cwd(), name);
  const places = (names: string[] = []) =>
    names.map((name) => name.startsWith("/") ? name : absolute(name));
  const { config } = loadConfig({
    flags: new Map(),
    variables: {},
    file: undefined,
    workingFolder: path,
    host: { hostname: "h", cpus: 1, stateRoot: join(path, "state"), terminal: false },
  });
  for (const [name, { words, ...expected }] of Object.entries(commands)) {
    const spec = await loadCommand(name);
    const request = { ...parse(spec, words), config, json: false, env };
    const { read, write, sys, ...rest } = await spec.grants!(request);
    const beyond = (paths: string[]) => paths.filter((each) => !isWithin(root, each)).toSorted();
    const staged = join(path, "medium", ".ca.key.new");
    const named = places(expected.write);
    assert.deepEqual(beyond(write), [...named, medium, staged].toSorted(), `${name}: write`);
    const known = [medium, staged, "/etc/hosts", "/etc/resolv.conf", ...named];
    const readable = [...known, ...places(expected.read)].toSorted();
    // Where a file of /etc is a link, its target is granted, too.
    const real = ["/etc/hosts", "/etc/resolv.conf"].map((file) => realPathOf(file));
    assert.deepEqual(
      beyond(read).filter((each) => !real.includes(each) || known.includes(each)),
      readable,
      `${name}: read`,
    );
    assert.deepEqual(sys.toSorted(), ["hostname", "networkInterfaces", "uid"], `${name}: sys`);
    const { read: _read, write: _write, sys: _sys, ...nothing } = noGrants;
    assert.deepEqual(rest, { ...nothing, run: expected.run ?? [] }, `${name}: the rest`);
  }
});

function realPathOf(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch {
    return path;
  }
}
