/**
 * Containers without an engine's daemon: podman with storage of its own, and a base image that is
 * put together from packages of this system, so that nothing is pulled.
 */
import { join } from "node:path";
import { asRoot, type Check, networkNamespaces, programs } from "./component.ts";

export const containersCheck: Check[] = [
  () => Deno.build.os === "linux" ? undefined : "needs Linux",
  asRoot,
  programs("podman", "buildah", "runc", "dpkg-deb", "apt-get", "unshare"),
  networkNamespaces,
];

export interface Containers extends AsyncDisposable {
  /** For scripts and commands: where podman finds its storage and settings. */
  env: Record<string, string>;
  folder: string;
  /** Options by which a build takes the base image. */
  base: string;
}

/** What the image needs: a shell, tini, and the libraries of the executable. */
const glibc = ["busybox-static", "bash", "tini", "libc6", "libgcc-s1", "libtinfo6"];
/** The C library of Alpine and a shell, and nothing of glibc. */
const musl = ["busybox-static", "musl"];

export async function startContainers(): Promise<Containers> {
  const folder = await Deno.makeTempDir({ prefix: "agent-containers-" });
  const at = (name: string) => join(folder, name);
  const write = (name: string, text: string) => Deno.writeTextFile(at(name), text);
  await write(
    "storage.conf",
    `[storage]\ndriver = "overlay"\ngraphroot = "${at("root")}"\nrunroot = "${at("run")}"\n`,
  );
  await write(
    "registries.conf",
    'unqualified-search-registries = []\nshort-name-mode = "disabled"\n',
  );
  await write(
    "containers.conf",
    `[containers]\ndefault_ulimits = ["nofile=8192:8192", "nproc=8192:8192"]\n` +
      `[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n`,
  );
  const env = {
    CONTAINERS_STORAGE_CONF: at("storage.conf"),
    CONTAINERS_REGISTRIES_CONF: at("registries.conf"),
    CONTAINERS_CONF: at("containers.conf"),
    BUILDAH_ISOLATION: "chroot",
    TMPDIR: folder,
    HOME: folder,
    PATH: Deno.env.get("PATH")!,
    ENGINE: "podman",
  };
  await makeBase(folder, env, "localhost/base:1", glibc);
  return {
    env,
    folder,
    base: "localhost/base:1",
    async [Symbol.asyncDispose]() {
      await run("podman", ["rm", "-af", "-t", "0"], env);
      await run("podman", ["rmi", "-af"], env);
      await Deno.remove(folder, { recursive: true });
    },
  };
}

/** An image with musl as its C library, on which the executable cannot run. */
export async function makeMusl({ folder, env }: Containers): Promise<string> {
  const tag = "localhost/musl:1";
  await makeBase(folder, env, tag, musl);
  return tag;
}

async function makeBase(
  folder: string,
  env: Record<string, string>,
  tag: string,
  packages: string[],
): Promise<void> {
  const script = `
    rm -rf debs base; mkdir debs base && cd debs
    apt-get download -q ${packages.join(" ")} >/dev/null
    for deb in *.deb; do dpkg-deb -x "$deb" ../base; done
    cd ../base
    for dir in bin sbin lib lib64; do
      [ ! -d $dir ] || [ -L $dir ] || { mkdir -p usr/$dir; cp -a $dir/. usr/$dir/; rm -r $dir; }
      [ ! -d usr/$dir ] || ln -sfn usr/$dir $dir
    done
    for applet in sh ls cat cp mv rm mkdir chmod chown stat grep sed head sleep env id touch dd \\
      mktemp uname date df awk tr sort readlink hostname getconf ps kill sha256sum cut wc test printf; do
      [ -e usr/bin/$applet ] || ln -s busybox usr/bin/$applet
    done
    mkdir -p etc tmp root var proc sys dev && chmod 1777 tmp
    echo 'root:x:0:0:root:/root:/bin/sh' >etc/passwd; echo 'root:x:0:' >etc/group
    tar -c . | podman import -q - ${tag}`;
  const made = await run("sh", ["-euc", `cd "$0"; ${script}`, folder], env);
  if (made.code !== 0) throw new Error(`The image ${tag} could not be made: ${made.stderr}`);
}

/** Runs a program with the environment of the containers. */
export async function run(
  program: string,
  args: string[],
  env: Record<string, string>,
  cwd?: string,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const ran = await new Deno.Command(program, {
    args,
    env,
    clearEnv: true,
    stdin: "null",
    ...(cwd === undefined ? {} : { cwd }),
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code: ran.code, stdout: text(ran.stdout), stderr: text(ran.stderr) };
}
