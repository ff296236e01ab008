/** A step on which the next ones build: the test ends with the first that fails. */
export async function step(
  t: Deno.TestContext,
  name: string,
  fn: () => Promise<void>,
): Promise<void> {
  if (!await t.step(name, fn)) throw new Error(`The step "${name}" failed`);
}
