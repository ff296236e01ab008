import { Duplex } from "node:stream";
import { connect } from "node:tls";
import { inspectCertificate } from "../pki/x509/inspect.ts";
import { endProcess } from "./remote.ts";
import { sshForward, type SshOptions } from "./ssh.ts";

/** A role answers within milliseconds, but ssh may have to connect first. */
const handshakeMs = 5_000;

/**
 * Which certificate a port of a peer presents, as the SHA-256 of its DER in the form of
 * `Certificate.fingerprint`; undefined if no TLS server answers. The bytes go through the ssh
 * connection, so this process needs no access to the network, and the peer's firewall does not
 * matter. Only a TLS handshake is sent.
 */
export async function presentedBy(
  host: string,
  address: string,
  options: SshOptions,
): Promise<string | undefined> {
  const { program, args } = sshForward(host, address, options);
  const child = new Deno.Command(program, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const timer = setTimeout(() => resolve(undefined), handshakeMs);
  const stream = duplexOf(child);
  stream.on("error", () => resolve(undefined));
  const socket = connect({
    socket: stream,
    rejectUnauthorized: false,
    ALPNProtocols: ["h2", "http/1.1"],
  });
  socket.on("error", () => resolve(undefined));
  socket.on("close", () => resolve(undefined));
  socket.on("secureConnect", () => {
    const { raw } = socket.getPeerCertificate();
    resolve(raw === undefined ? undefined : inspectCertificate(raw).fingerprint);
  });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    socket.destroy();
    stream.destroy();
    endProcess(child);
    await child.status;
  }
}

/** Standard input and output of a process as one stream, in the form that node:tls takes. */
function duplexOf(child: { stdin: WritableStream<Uint8Array>; stdout: AsyncIterable<Uint8Array> }) {
  const writer = child.stdin.getWriter();
  const stream = new Duplex({
    read() {},
    write(chunk, _encoding, done) {
      writer.write(chunk).then(() => done(), done);
    },
    final(done) {
      writer.close().then(() => done(), done);
    },
  });
  (async () => {
    for await (const chunk of child.stdout) stream.push(chunk);
    stream.push(null);
  })().catch((error) => stream.destroy(error));
  return stream;
}
