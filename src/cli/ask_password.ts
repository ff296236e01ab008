import type { Env } from "../base/env.ts";
import { Refusal } from "../base/errors.ts";

/**
 * Asks for the sudo password of the peers, without showing it.
 *
 * @throws {Refusal} without a terminal.
 */
export async function askSudoPassword(env: Env): Promise<string> {
  if (!env.stdin.isTerminal || !env.stderr.isTerminal) {
    throw new Refusal("--ask-sudo needs a terminal to ask for the password", {
      next: "Run it in a terminal, or allow sudo without a password and use --sudo",
    });
  }
  // First, because what is typed after the question must not be shown.
  Deno.stdin.setRaw(true, { cbreak: true });
  await env.stderr.write("Password for sudo on the peers: ");
  const reader = env.stdin.readable.getReader();
  const decoder = new TextDecoder();
  let typed = "";
  try {
    while (!/[\r\n]/.test(typed)) {
      const { done, value } = await reader.read();
      if (done) break;
      typed += decoder.decode(value, { stream: true });
      typed = typed.replace(/[^\r\n][\x7f\b]/g, "");
    }
  } finally {
    reader.releaseLock();
    Deno.stdin.setRaw(false);
    await env.stderr.write("\n");
  }
  return typed.replace(/[\r\n].*$/s, "");
}
