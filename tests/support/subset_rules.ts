/**
 * Holds `*_transitions.ts` to the subset of TypeScript that compiles to Lua: plain records and arrays, loops, strings and
 * whole numbers. The compiler refuses what it does not know; this says so at the line, before anything is compiled.
 */
const METHODS = new Set(
  ("map filter reduce some every find findIndex forEach flatMap flat concat splice replace replaceAll match matchAll test exec " +
    "toFixed padStart codePointAt normalize trim join localeCompare at then").split(" "),
);
const GLOBALS = new Set(
  "Map Set WeakMap Date RegExp JSON Symbol Promise BigInt Intl crypto console performance parseInt parseFloat Reflect Proxy"
    .split(" "),
);
const MATH = new Set(["min", "max", "floor", "ceil"]);

export default {
  name: "subset-rules",
  rules: {
    transitions: {
      create(context) {
        if (!/_transitions\.ts$/.test(context.filename) || context.filename.includes("/compile/")) return {};
        const refuse = (node: { readonly range: Deno.lint.Range }, what: string) =>
          context.report({
            node: node as Deno.lint.Node,
            message: `${what} is outside the subset that compiles to Lua`,
          });
        return {
          Literal(node) {
            if (node.raw.startsWith("/")) refuse(node, "A regular expression");
          },
          NewExpression: (node) => refuse(node, "'new'"),
          ClassDeclaration: (node) => refuse(node, "A class"),
          TryStatement: (node) => refuse(node, "'try'"),
          ThrowStatement: (node) => refuse(node, "'throw'"),
          AwaitExpression: (node) => refuse(node, "'await'"),
          YieldExpression: (node) => refuse(node, "'yield'"),
          Identifier(node) {
            if (GLOBALS.has(node.name) && node.parent.type !== "MemberExpression") {
              refuse(node, `'${node.name}'`);
            }
          },
          MemberExpression(node) {
            if (node.property.type !== "Identifier" || node.computed) return;
            const { name } = node.property;
            const object = node.object.type === "Identifier" ? node.object.name : "";
            if (object === "Math" && !MATH.has(name)) refuse(node, `'Math.${name}'`);
            if (object === "Number" || object === "Object") refuse(node, `'${object}.${name}'`);
            if (node.parent.type === "CallExpression" && node.parent.callee === node && METHODS.has(name)) {
              refuse(node, `'.${name}()'`);
            }
          },
          BinaryExpression(node) {
            const absent = (side: Deno.lint.Node) => side.type === "Identifier" && side.name === "undefined";
            if (/^[<>]=?$/.test(node.operator) && (absent(node.left) || absent(node.right))) {
              refuse(node, "'undefined' in a comparison");
            }
            if (/^(<<|>>>?|&|\||\^|\*\*)$/.test(node.operator)) refuse(node, `'${node.operator}'`);
          },
        };
      },
    },
  },
} satisfies Deno.lint.Plugin;
