/**
 * Compiles transitions to the Lua that Redis runs. The compiler itself is `typescript-to-lua`; it is handed
 * in, so that nobody installs it who only runs what it made.
 */
import { LUA_LIBRARY, NATIVE_FORMS } from "./lua_library.ts";
import { minifyLua } from "./minify_lua.ts";
import { tidyLua } from "./tidy_lua.ts";

/** The compilers, as `import("typescript")` and `import("typescript-to-lua")` answer them. */
export interface Compilers {
  /** The TypeScript compiler API. */
  // deno-lint-ignore no-explicit-any
  readonly ts: any;
  /** The Lua back end. */
  // deno-lint-ignore no-explicit-any
  readonly tstl: any;
}

/** A transition in Lua. */
export interface CompiledTransition {
  /** The transition's name. */
  readonly name: string;
  /** Whether it may write. */
  readonly kind: "read" | "write";
  /** The fields of the input that its code names, in order of their names. */
  readonly fields: readonly string[];
  /** What defines `apply(record, input, now)`, which answers a step: functions and constants one by one. */
  readonly parts: readonly string[];
  /** The usual case by hand. */
  readonly fast?: string | undefined;
}

/**
 * Compiles every `const x: Transition = { name: "…", apply }` of the files, each with just the functions and
 * constants that it uses.
 *
 * @throws {TypeError} naming the transition and what is outside the subset
 */
export function compileTransitions(
  files: readonly string[],
  { ts, tstl }: Compilers,
): CompiledTransition[] {
  const program = ts.createProgram(files, {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    strict: true,
    noUncheckedIndexedAccess: true,
    allowImportingTsExtensions: true,
    noEmit: true,
    lib: ["lib.es2022.d.ts"],
  });
  const checker = program.getTypeChecker();
  const found: CompiledTransition[] = [];
  for (const file of files) {
    const source = program.getSourceFile(file);
    if (source === undefined) throw new TypeError(`Cannot compile ${file} as there is no such file`);
    for (const { initializer, type } of declarations(ts, source)) {
      if (type?.getText() !== "Transition" || !initializer) continue;
      if (!ts.isObjectLiteralExpression(initializer)) continue;
      const name = property(initializer, "name")?.initializer?.text;
      const apply = property(initializer, "apply");
      if (typeof name !== "string" || apply === undefined) continue;
      const { code, nodes } = pruned(ts, checker, apply);
      const readOnly = property(initializer, "readOnly")?.initializer?.kind === ts.SyntaxKind.TrueKeyword;
      found.push({
        name,
        kind: readOnly || !nodes.some((node) => writes(ts, node)) ? "read" : "write",
        fields: inputFields(ts, nodes, apply),
        parts: luaOf(name, code, { ts, tstl }),
      });
    }
  }
  return found;
}

/** Compiled transitions of several contracts, and the engine's own Lua. */
export interface Minified {
  readonly contracts: readonly (readonly CompiledTransition[])[];
  readonly engine: Readonly<Record<string, string>>;
}

/** The same with short names: what they share stays equal. */
export function minified({ contracts, engine }: Minified): Minified {
  const names = Object.keys(engine);
  const [own, ...short] = minifyLua([
    { parts: [], alone: [], around: Object.values(engine) },
    ...contracts.map((transitions) => ({
      parts: transitions.flatMap(({ parts }) => parts),
      alone: transitions.flatMap(({ fast }) => fast ?? []),
    })),
  ]);
  return {
    engine: Object.fromEntries(names.map((name, i) => [name, own!.around[i]!])),
    contracts: contracts.map((transitions, i) => {
      const [parts, alone] = [[...short[i]!.parts], [...short[i]!.alone]];
      return transitions.map((transition) => ({
        ...transition,
        parts: parts.splice(0, transition.parts.length),
        ...(transition.fast !== undefined && { fast: alone.shift()! }),
      }));
    }),
  };
}

// The compiler's syntax tree has no types here: it comes from the caller.
// deno-lint-ignore no-explicit-any
type Node = any;

function* declarations(ts: Node, source: Node): Generator<Node> {
  for (const statement of source.statements) {
    if (ts.isVariableStatement(statement)) yield* statement.declarationList.declarations;
  }
}

function property(object: Node, name: string): Node {
  return object.properties.find((member: Node) => member.name?.getText() === name);
}

/**
 * The source of `apply`, after every top-level declaration that it reaches, and their syntax trees. What a
 * declaration uses stands before it, so that each is a statement of its own in Lua, which several transitions
 * can share.
 */
function pruned(ts: Node, checker: Node, apply: Node): { code: string; nodes: Node[] } {
  const entered = new Set<Node>();
  const needed: Node[] = [];
  const own = topLevel(ts, apply);
  const visit = (node: Node): void => {
    for (const declaration of declarationsOf(ts, checker, node)) {
      const statement = topLevel(ts, declaration);
      if (declaration.getSourceFile().isDeclarationFile || statement === own || entered.has(statement)) {
        continue;
      }
      if (ts.isImportDeclaration(statement)) continue;
      entered.add(statement);
      if (!isNative(ts, statement)) ts.forEachChild(statement, visit);
      needed.push(statement);
    }
    ts.forEachChild(node, visit);
  };
  visit(apply);
  const texts = needed.map((node) => {
    if (!isNative(ts, node)) return node.getText().replace(/^export\s+/, "");
    const head = node.getText().slice(0, node.body.getStart() - node.getStart());
    return `declare ${head.replace(/^export\s+/, "")};`;
  });
  if (!/\binterface Step\b/.test(texts.join("\n"))) texts.unshift(STEP);
  if (!/\btype Fields\b/.test(texts.join("\n"))) texts.unshift(FIELDS);
  const body = ts.isMethodDeclaration(apply)
    ? `(${apply.parameters.map((p: Node) => p.getText()).join(", ")}): Step => ${apply.body.getText()}`
    : ts.isShorthandPropertyAssignment(apply)
    ? apply.name.getText()
    : apply.initializer.getText();
  const type = "type Apply = (record: Fields | undefined, input: Fields, now: number) => Step;";
  return {
    code: `${texts.join("\n")}\nexport const apply: Apply = ${body};\n${type}\n`,
    nodes: [...needed.filter((node) => !isNative(ts, node)), apply],
  };
}

/** Whether a declaration is one of ours that has a form of its own in Lua. */
function isNative(ts: Node, statement: Node): boolean {
  if (!ts.isFunctionDeclaration(statement)) return false;
  const native = NATIVE_FORMS[statement.name?.text];
  return native !== undefined && statement.getSourceFile().fileName.endsWith(native.file);
}

/** Whether the code makes a step that writes. */
function writes(ts: Node, node: Node): boolean {
  const named = (ts.isPropertyAssignment(node) || ts.isShorthandPropertyAssignment(node)) &&
    node.name.getText() === "write";
  return named || ts.forEachChild(node, (child: Node) => writes(ts, child) || undefined) === true;
}

const FIELDS = "type Fields = Readonly<Record<string, string>>;";
const STEP =
  "interface Step { output: Fields; write?: { record: Fields | undefined; expiresAt?: number; retention?: string } }";

function declarationsOf(ts: Node, checker: Node, node: Node): readonly Node[] {
  if (!ts.isIdentifier(node)) return [];
  let symbol = node.parent && ts.isShorthandPropertyAssignment(node.parent)
    ? checker.getShorthandAssignmentValueSymbol(node.parent)
    : checker.getSymbolAtLocation(node);
  if (symbol && symbol.flags & ts.SymbolFlags.Alias) symbol = checker.getAliasedSymbol(symbol);
  return symbol?.declarations ?? [];
}

function topLevel(ts: Node, node: Node): Node {
  while (node.parent && !ts.isSourceFile(node.parent)) node = node.parent;
  return node;
}

/**
 * The names of the input that the code reads: they travel without their names. A name that is missed here
 * travels beside its value. They are what is read of the second parameter of `apply`, by a dot, in brackets
 * or taken apart, and of every parameter with the same name.
 */
function inputFields(ts: Node, nodes: readonly Node[], apply: Node): string[] {
  const names = new Set<string>();
  const own = (apply.initializer ?? apply).parameters?.[1]?.name;
  const input = own && ts.isIdentifier(own) ? own.text : "input";
  const takeApart = (pattern: Node): void => {
    for (const { dotDotDotToken, propertyName, name } of pattern.elements) {
      const key = propertyName ?? name;
      if (!dotDotDotToken && (ts.isIdentifier(key) || ts.isStringLiteral(key))) names.add(key.text);
    }
  };
  if (own && ts.isObjectBindingPattern(own)) takeApart(own);
  const isInput = (node: Node) => node && ts.isIdentifier(node) && node.text === input;
  const visit = (node: Node): void => {
    if (ts.isPropertyAccessExpression(node) && isInput(node.expression)) names.add(node.name.text);
    if (ts.isElementAccessExpression(node) && isInput(node.expression)) {
      if (ts.isStringLiteral(node.argumentExpression)) names.add(node.argumentExpression.text);
    }
    if (ts.isVariableDeclaration(node) && ts.isObjectBindingPattern(node.name) && isInput(node.initializer)) {
      takeApart(node.name);
    }
    ts.forEachChild(node, visit);
  };
  for (const node of nodes) visit(node);
  return [...names].sort();
}

/** The top-level statements of the chunk, the helpers first. */
function luaOf(name: string, code: string, { ts, tstl }: Compilers): string[] {
  const { diagnostics, transpiledFiles } = tstl.transpileVirtualProject({ "main.ts": code }, {
    luaTarget: tstl.LuaTarget.Lua51,
    luaLibImport: tstl.LuaLibImportKind.Require,
    noImplicitSelf: true,
    noHeader: true,
    strict: true,
    noUncheckedIndexedAccess: true,
    target: ts.ScriptTarget.ES2022,
    lib: ["lib.es2022.d.ts"],
    skipLibCheck: true,
  });
  const messages = diagnostics.map((item: Node) => ts.flattenDiagnosticMessageText(item.messageText, " "));
  if (messages.length > 0) {
    throw new TypeError(`Cannot compile ${name} as it is outside the subset: ${messages.join("; ")}`);
  }
  const lua: string = transpiledFiles.find((file: Node) => /main\.lua$/.test(file.outPath)).lua
    .replace(/^local ____lualib = .*\n/m, "")
    .replace(/^local (__TS__\w+) = ____lualib\.\1\n/gm, "")
    .replace(/^local ____exports = \{\}\n/m, "")
    .replace(/^return ____exports\s*$/m, "")
    .replaceAll("____exports.apply", "apply")
    .replace(/^apply = /m, "local apply = ")
    .replace(/^function apply\(/m, "local function apply(");
  // What a bounded engine evicts means nothing to Redis, which evicts by its own policy.
  const own = lua.replace(/,\s*retention = (?:[^,(){}\n]|\([^()]*\))+/g, "");
  return [...library(name, lua), ...tidyLua(own.split(/\n(?=local )/))].filter((part) => part.trim() !== "");
}

/** The helpers that the chunk calls. */
function library(name: string, lua: string): string[] {
  const natives = Object.keys(NATIVE_FORMS).join("|");
  // Lua joins numbers in a form of its own.
  if (lua.includes("table.concat(")) {
    throw new TypeError(`Cannot compile ${name} as the subset has no 'join'`);
  }
  const words = lua.matchAll(new RegExp(`\\b(__TS__\\w+|tostring|${natives})\\b`, "g"));
  const called = new Set(Array.from(words, ([word]) => word));
  return [...called].sort().map((word) => {
    const text = NATIVE_FORMS[word]?.lua ?? LUA_LIBRARY[word];
    if (text === undefined) throw new TypeError(`Cannot compile ${name} as the subset has no '${word}'`);
    return text;
  });
}
