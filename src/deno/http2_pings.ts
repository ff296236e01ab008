/**
 * Whether pings of HTTP/2 work. On Deno 2.7 a ping seems to fail as soon as it is sent, so that gRPC
 * ends the connection, and what it leaves behind crashes the process when that ends. This can go when
 * 2.9 is the oldest supported version.
 */
export function pingsWork(denoVersion: string): boolean {
  const [major = 0, minor = 0] = denoVersion.split(".").map(Number);
  return major > 2 || (major === 2 && minor >= 9);
}
