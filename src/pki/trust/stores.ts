import { arch } from "./arch.ts";
import { chromium } from "./chromium.ts";
import { debian } from "./debian.ts";
import { fedora } from "./fedora.ts";
import { firefox } from "./firefox.ts";
import { macos } from "./macos.ts";
import type { TrustStore } from "./store.ts";
import { windows } from "./windows.ts";

const linux = [debian, fedora, arch, chromium];

/** What `--os` takes, and the stores that a machine of that kind has. */
export const systems: Readonly<Record<string, readonly TrustStore[]>> = {
  linux: [...linux, firefox],
  debian: [debian, chromium, firefox],
  fedora: [fedora, chromium, firefox],
  arch: [arch, chromium, firefox],
  macos: [macos, firefox],
  windows: [windows, firefox],
  all: [...linux, macos, windows, firefox],
};

/** The kind of this machine. */
export function ownSystem(os: typeof Deno.build.os): string {
  return os === "darwin" ? "macos" : os === "windows" ? "windows" : "linux";
}
