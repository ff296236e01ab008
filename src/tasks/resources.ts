/** How many of each: `{ gpu: 2 }`. */
export type Resources = Readonly<Record<string, number>>;

/** Which of each, by number from 0: `{ gpu: [0, 3] }`. */
export type GrantedResources = Readonly<Record<string, readonly number[]>>;

/** Short and in lower case: it becomes a part of a variable's name. */
const name = /^[a-z][a-z0-9_]{0,31}$/;

export const resourceSyntax = 'NAME=N, such as "gpu=2": lower-case letters, digits and "_", and ' +
  "a number up to 1024";

/** More of one kind on one host is a slip of the keyboard. */
export const maxOfResource = 1024;
export const maxResources = 16;

export function isResourceName(text: string): boolean {
  return name.test(text);
}

/** `gpu=2` as a name and a number; undefined if it is not that. */
export function parseResource(text: string): [name: string, count: number] | undefined {
  const [, name = "", digits] = /^([^=]*)=(\d{1,4})$/.exec(text) ?? [];
  const count = Number(digits);
  return isResourceName(name) && count <= maxOfResource ? [name, count] : undefined;
}

/** Whether there is enough in all, free or not. */
export function hasResources(total: Resources | undefined, wanted: Resources | undefined): boolean {
  for (const name in wanted) {
    if ((total?.[name] ?? 0) < wanted[name]!) return false;
  }
  return true;
}

/** `gpu=2 license=1` */
export function showResources(resources: Resources): string {
  return Object.entries(resources).map(([name, count]) => `${name}=${count}`).join(" ");
}
