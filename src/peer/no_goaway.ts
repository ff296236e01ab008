import http2 from "node:http2";

/**
 * Ends connections without GOAWAY, on either side: Deno 2.9 may crash when it sends or receives one
 * (denoland/deno issue 36788), which would take a coordinator down because a client said goodbye.
 * What a GOAWAY would tell, the end of the connection tells as well, and every peer is made for that.
 *
 * grpc-js makes its sessions by these functions of the module, and asks for them at each call.
 */
export function endWithoutGoaway(): void {
  if (done) return;
  done = true;
  const { connect, createServer, createSecureServer } = http2;
  const watched = <S extends http2.Http2Server | http2.Http2SecureServer>(server: S): S => {
    server.prependListener("session", mute);
    return server;
  };
  Object.assign(http2, {
    connect: (...args: Parameters<typeof connect>) => {
      const session = connect(...args);
      mute(session);
      return session;
    },
    createServer: (...args: Parameters<typeof createServer>) => watched(createServer(...args)),
    createSecureServer: (...args: Parameters<typeof createSecureServer>) =>
      watched(createSecureServer(...args)),
  });
}

let done = false;

function mute(session: http2.Http2Session): void {
  session.goaway = () => {};
}
