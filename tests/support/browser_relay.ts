/**
 * Passes connections to a port of this network on to a socket file, which is not bound to a network:
 * a browser in a namespace of its own reaches a server of the tests by it. `PORT SOCKET`. Says "up"
 * when it listens.
 */
import { connect, createServer } from "node:net";

const [port, path] = Deno.args;
createServer((near) => {
  const far = connect({ path: path! });
  for (const [one, other] of [[near, far], [far, near]] as const) {
    one.on("error", () => {});
    one.on("close", () => other.destroy());
    one.pipe(other);
  }
}).listen(Number(port), "127.0.0.1", up);

function up(): void {
  Deno.stdout.writeSync(new TextEncoder().encode("up\n"));
}
