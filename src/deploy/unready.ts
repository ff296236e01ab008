import { endProcess } from "./remote.ts";
import { sshForward, type SshOptions } from "./ssh.ts";

/** A role answers within milliseconds, but ssh may have to connect first. */
const answerMs = 5_000;
/** `/readyz` answers in one line. */
const maxAnswerBytes = 4096;

/**
 * Asks the health port of a role through the ssh connection. Returns what keeps the role from being
 * ready, and undefined for one that is ready.
 */
export async function unreadyBy(
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
  const timer = setTimeout(() => endProcess(child), answerMs);
  try {
    const writer = child.stdin.getWriter();
    const request = `GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
    await writer.write(new TextEncoder().encode(request)).catch(() => {/* It has ended. */});
    let answer = "";
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      answer += text;
      if (answer.length > maxAnswerBytes) break;
    }
    await writer.close().catch(() => {/* It has ended. */});
    const [, status, body = ""] = /^HTTP\/1\.[01] (\d+)[^]*?\r\n\r\n([^]*)$/.exec(answer) ?? [];
    if (status === undefined) return `its health port ${address} does not answer`;
    return status === "200" ? undefined : body.trim().split("\n").at(-1) || `it answers ${status}`;
  } finally {
    clearTimeout(timer);
    endProcess(child);
    await child.status;
  }
}
