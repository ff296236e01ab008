import type { Env } from "../base/env.ts";

/** Longer than any "yes", and small. */
const maxAnswerBytes = 256;

/**
 * Asks a question that has to be answered with the word `yes`. Without a terminal the answer is no,
 * at once.
 */
export async function confirm(env: Env, question: string): Promise<boolean> {
  if (!env.stdin.isTerminal || !env.stderr.isTerminal) return false;
  await env.stderr.write(`${question} Type "yes" to continue: `);
  const reader = env.stdin.readable.getReader();
  let answer = "";
  try {
    const decoder = new TextDecoder();
    while (!answer.includes("\n") && answer.length < maxAnswerBytes) {
      const { done, value } = await reader.read();
      if (done) break;
      answer += decoder.decode(value, { stream: true });
    }
  } finally {
    reader.releaseLock();
  }
  return answer.trim().toLowerCase() === "yes";
}
