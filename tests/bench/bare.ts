/**
 * Plain gRPC as the reference: a unary call that returns its message, and a client stream that
 * counts bytes. As a program it serves both with mTLS and prints its port; as a module it exports the
 * client.
 */
import * as grpc from "@grpc/grpc-js";
import { Buffer } from "node:buffer";

interface Files {
  ca: string;
  cert: string;
  key: string;
}

const raw = {
  requestSerialize: (value: Buffer) => value,
  requestDeserialize: (value: Buffer) => value,
  responseSerialize: (value: Buffer) => value,
  responseDeserialize: (value: Buffer) => value,
};
const service = {
  echo: { path: "/bare.Bare/Echo", requestStream: false, responseStream: false, ...raw },
  count: { path: "/bare.Bare/Count", requestStream: true, responseStream: false, ...raw },
} satisfies grpc.ServiceDefinition;

const channelOptions = { "grpc.enable_http_proxy": 0 };

export class BareClient extends grpc.Client {
  static async dial(port: number, files: Files): Promise<BareClient> {
    const [ca, cert, key] = await Promise.all(
      [files.ca, files.cert, files.key].map((path) => Deno.readFile(path)),
    );
    const credentials = grpc.credentials.createSsl(
      Buffer.from(ca!),
      Buffer.from(key!),
      Buffer.from(cert!),
    );
    return new BareClient(`localhost:${port}`, credentials, channelOptions);
  }

  /** Sends one message and returns the answer. */
  echo(message: Buffer): Promise<Buffer> {
    const { path, requestSerialize, responseDeserialize } = service.echo;
    return new Promise((resolve, reject) =>
      this.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        message,
        (error, answer) => error ? reject(error) : resolve(answer!),
      )
    );
  }

  /** Sends `total` bytes in pieces; settles when the server has counted them. */
  async send(total: number, pieceBytes: number): Promise<void> {
    const { path, requestSerialize, responseDeserialize } = service.count;
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    const call = this.makeClientStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      (error, answer) => error ? reject(error) : resolve(answer!),
    );
    const piece = Buffer.alloc(pieceBytes);
    for (let sent = 0; sent < total; sent += pieceBytes) {
      if (!call.write(piece)) await new Promise((again) => call.once("drain", again));
    }
    call.end();
    const counted = Number((await promise).toString());
    if (counted !== total) throw new Error(`The server counted ${counted} bytes of ${total}`);
  }
}

export interface BareServer extends AsyncDisposable {
  port: number;
}

/** Starts the server in its own process. */
export async function startBareServer(files: Files): Promise<BareServer> {
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--config", config, import.meta.url, files.ca, files.cert, files.key],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  const port = Number(new TextDecoder().decode(value));
  if (!Number.isInteger(port)) throw new Error("The bare server did not start");
  return {
    port,
    async [Symbol.asyncDispose]() {
      await child.stdin.close();
      await reader.cancel();
      await child.status;
    },
  };
}

if (import.meta.main) {
  const [ca, cert, key] = await Promise.all(Deno.args.map((path) => Deno.readFile(path)));
  const server = new grpc.Server();
  server.addService(service, {
    echo(call: grpc.ServerUnaryCall<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>) {
      answer(null, call.request);
    },
    count(call: grpc.ServerReadableStream<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>) {
      let bytes = 0;
      call.on("data", (piece: Buffer) => bytes += piece.length);
      call.on("end", () => answer(null, Buffer.from(String(bytes))));
    },
  });
  const credentials = grpc.ServerCredentials.createSsl(
    Buffer.from(ca!),
    [{ cert_chain: Buffer.from(cert!), private_key: Buffer.from(key!) }],
    true,
  );
  server.bindAsync("127.0.0.1:0", credentials, (error, port) => {
    if (error) throw error;
    Deno.stdout.writeSync(new TextEncoder().encode(`${port}\n`));
  });
  // The parent closes stdin at its end, also when it is killed.
  for await (const _ of Deno.stdin.readable);
  server.forceShutdown();
  Deno.exit(0);
}
