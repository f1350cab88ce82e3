import { type KVNamespace } from "@cloudflare/workers-types/nothing";
     const real = <T>(_value: 0 extends 1 & T ? never : T): void => {};
     // deno-lint-ignore no-explicit-any
     declare const kv: any;
     real<any>(kv);
     // @ts-expect-error it would be an error if it were real
     const number: number = kv;
     export { number, type KVNamespace };