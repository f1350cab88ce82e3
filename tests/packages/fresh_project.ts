/** Projects of a user, made from nothing, with our package installed from the registry of the test. */
import { run } from "./build_npm.ts";
import type { Registry } from "./npm_registry.ts";

const files = new URL("fresh/", import.meta.url);

/** A folder with a project in it. */
export class FreshProject implements AsyncDisposable {
  /** The folder's path, without a slash at its end. */
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Writes a file; an object is written as JSON. */
  async write(name: string, content: string | object): Promise<void> {
    const path = `${this.folder}/${name}`;
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    const text = typeof content === "string" ? content : JSON.stringify(content, null, 2);
    await Deno.writeTextFile(path, text);
  }

  /** Copies a file of `tests/packages/fresh`, under its own name or another one. */
  async copy(name: string, as = name): Promise<void> {
    await this.write(as, await Deno.readTextFile(new URL(name, files)));
  }

  /** Runs a command in the folder. */
  run(command: string, ...args: string[]): Promise<string> {
    return run(command, args, this.folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** An empty project whose `.npmrc` knows the registry, with that package.json and what npm installs for it. */
export async function freshProject(
  registry: Registry,
  packageJson: object,
  ...packages: string[]
): Promise<FreshProject> {
  const project = new FreshProject(await Deno.makeTempDir({ prefix: "fresh-" }));
  await project.write(".npmrc", registry.npmrc);
  await project.write("package.json", packageJson);
  if (packages.length > 0) {
    await project.run("npm", "install", "--no-audit", "--no-fund", "--prefer-offline", ...packages);
  }
  return project;
}

/** A strict tsconfig.json that also checks the declarations of packages. */
export function strictConfig(options: object): object {
  return {
    compilerOptions: {
      strict: true,
      skipLibCheck: false,
      noEmit: true,
      target: "es2022",
      lib: ["es2022", "esnext.disposable", "dom", "dom.iterable"],
      types: [],
      ...options,
    },
    include: ["*.ts"],
  };
}
