import { eventually } from "./eventually.ts";

export interface Serving extends AsyncDisposable {
  port: number;
}

/** Runs `openssl s_server` on a port of its own. */
export async function serveTls(cert: string, key: string, args: string[] = []): Promise<Serving> {
  const port = freePort();
  const child = new Deno.Command("openssl", {
    args: ["s_server", "-accept", `127.0.0.1:${port}`, "-cert", cert, "-key", key, ...args],
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
  await eventually(10_000, async () => {
    (await Deno.connect({ port, hostname: "127.0.0.1" })).close();
    return true;
  });
  return {
    port,
    async [Symbol.asyncDispose]() {
      await child.stdin.close();
      child.kill("SIGKILL");
      await child.status;
    },
  };
}

function freePort(): number {
  using listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  return listener.addr.port;
}
