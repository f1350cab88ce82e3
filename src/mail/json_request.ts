/** Requests whose body is JSON, in which files become base64 only while they are sent. */
import { bytesToBase64 } from "../codec.ts";
import { base64Chunks } from "./base64_stream.ts";
import type { MailRequest } from "./http_mailer.ts";
import { inPieces, type LazyBytes, toBytes } from "./pieces.ts";

/** A list for JSON, which leaves out `undefined`: an empty one is left out. */
export function some<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length > 0 ? list : undefined;
}

/** Pairs as an object for JSON, likewise. */
export function someOf(pairs: readonly (readonly [string, string])[]): Record<string, string> | undefined {
  return pairs.length > 0 ? Object.fromEntries(pairs) : undefined;
}

/** The files of the request that is being written: `toJSON` cannot get them as an argument. */
let writing: { readonly mark: string; readonly files: LazyBytes[] } | undefined;

/**
 * Bytes that stand in JSON as base64, and become it only while the request is sent.
 *
 * @category Mail
 */
export class Base64Content {
  /** The bytes. */
  readonly #content: LazyBytes;

  /** Wraps the bytes of a file, or those that are made while they are read. */
  constructor(content: Uint8Array<ArrayBuffer> | LazyBytes) {
    this.#content = inPieces([content]);
  }

  /** The base64 as one string, for clients that write JSON themselves; a mark in a request of ours. */
  toJSON(): string {
    if (!writing) return bytesToBase64(toBytes(this.#content));
    const { size, chunks } = this.#content;
    writing.files.push({ size: Math.ceil(size / 3) * 4, chunks: () => base64Chunks(chunks()) });
    return writing.mark;
  }
}

/**
 * A request with a body of JSON, in which {@linkcode Base64Content} is written while it is sent.
 *
 * @category Mail
 * @example
 * ```ts
 * import { Base64Content, jsonRequest } from "@holdfast/edge/mail";
 * const { body } = jsonRequest("/send", { file: new Base64Content(new TextEncoder().encode("Hello")) });
 * const text = await new Response(new Blob([...body.chunks()])).text();
 * if (text !== '{"file":"SGVsbG8="}' || body.size !== text.length) throw new Error("unexpected");
 * ```
 */
export function jsonRequest(
  path: string,
  json: unknown,
  headers: Readonly<Record<string, string>> = {},
): MailRequest {
  const mark = crypto.randomUUID(); // cannot be guessed, so no text of a message can stand for a file
  const files: LazyBytes[] = [];
  writing = { mark, files };
  let text: string;
  try {
    text = JSON.stringify(json);
  } finally {
    writing = undefined;
  }
  const body = inPieces(text.split(mark).flatMap((part, i) => i === 0 ? [part] : [files[i - 1]!, part]));
  return { path, headers: { "content-type": "application/json", ...headers }, body, json };
}
