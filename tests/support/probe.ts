import { errorFacts } from "../../src/base/errors.ts";
import { serveThread } from "../../src/sandbox/thread.ts";

/** What a probe tries in a thread with the grants under test. */
export interface Attempts {
  read?: string[];
  write?: string[];
  list?: string[];
  listen?: string[];
  dial?: string[];
  run?: string[];
  variables?: string[];
  sys?: boolean;
  import?: string[];
  /** Processes to send SIGCONT to, which has no effect on them. */
  signal?: number[];
  sqlite?: string[];
  port: MessagePort;
}

/** Keys like `read /etc/passwd`; values: "done", "refused" or the name of the error. */
export type Findings = Record<string, string>;

async function probe(attempts: Attempts): Promise<Findings> {
  const findings: Findings = {};
  const attempt = async (name: string, act: () => unknown) => {
    try {
      await act();
      findings[name] = "done";
    } catch (error) {
      const refused = error instanceof Deno.errors.NotCapable ||
        /Requires \w+ access/.test(errorFacts(error).message);
      findings[name] = refused ? "refused" : error instanceof Error ? error.name : String(error);
    }
  };
  const each = async (
    kind: string,
    targets: string[] | undefined,
    act: (target: string) => unknown,
  ) => {
    for (const target of targets ?? []) await attempt(`${kind} ${target}`, () => act(target));
  };
  await each("read", attempts.read, (path) => Deno.readTextFile(path));
  await each("write", attempts.write, (path) => Deno.writeTextFile(path, "x"));
  await each("list", attempts.list, async (path) => {
    for await (const _ of Deno.readDir(path)) { /* Only whether it may. */ }
  });
  await each("listen", attempts.listen, (at) => Deno.listen(addressOf(at)).close());
  await each("dial", attempts.dial, async (at) => (await Deno.connect(addressOf(at))).close());
  await each("run", attempts.run, (program) => new Deno.Command(program).output());
  await each("variable", attempts.variables, (name) => Deno.env.get(name));
  await each("import", attempts.import, (url) => import(url));
  await each("sqlite", attempts.sqlite, async (path) => {
    const { DatabaseSync } = await import("node:sqlite");
    new DatabaseSync(path).close();
  });
  for (const pid of attempts.signal ?? []) {
    await attempt("signal", () => Deno.kill(pid, "SIGCONT"));
  }
  if (attempts.sys) {
    await attempt("networkInterfaces", () => Deno.networkInterfaces());
    await attempt("hostname", () => Deno.hostname());
    await attempt("ffi", () => Deno.dlopen("libc.so.6", {}).close());
  }
  return findings;
}

function addressOf(text: string): { hostname: string; port: number } {
  const at = text.lastIndexOf(":");
  return { hostname: text.slice(0, at), port: Number(text.slice(at + 1)) };
}

serveThread<Attempts>(async (attempts) => {
  attempts.port.postMessage(await probe(attempts));
  attempts.port.close();
  return 0;
});
