import type { Compilers } from "./compile_transitions.ts";

/** The versions that the subset is tested with. */
const TYPESCRIPT = "npm:typescript@6.0.2";
const TYPESCRIPT_TO_LUA = "npm:typescript-to-lua@1.37.1";

/**
 * Loads the compilers. Their names are no literals of an `import`, so the package depends on neither: they
 * are fetched when a transition is compiled.
 */
export async function loadCompilers(): Promise<Compilers> {
  const [typescript, typescriptToLua] = [TYPESCRIPT, TYPESCRIPT_TO_LUA];
  const [ts, tstl] = await Promise.all([import(typescript), import(typescriptToLua)]);
  return { ts: ts.default ?? ts, tstl: tstl.default ?? tstl };
}
