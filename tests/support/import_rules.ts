export default { name: "import-rules", rules: {} } satisfies Deno.lint.Plugin;
