/** How a client proves who it is: the lines it says, in base64. */
import { mailError, unsupported } from "../../src/mail/mail_error.ts";
import { bytesToBase64 } from "../../src/codec.ts";

/** Who we are: by password, or by a token of OAuth 2 (`XOAUTH2`). */
export type SmtpAuth =
  | {
    /** The account. */
    readonly username: string;
    /** Its password. */
    readonly password: string;
  }
  | {
    /** The account. */
    readonly username: string;
    /** A token, or how to get one: called for every connection. */
    readonly accessToken: string | (() => string | Promise<string>);
  };

/** A mechanism, what goes with its command, and what answers each challenge. */
export interface Exchange {
  readonly mechanism: string;
  readonly initial: string | undefined;
  readonly answers: readonly string[];
}

/** Whether every mechanism can carry them. */
export function isAuth(auth: SmtpAuth): boolean {
  const secret = "accessToken" in auth ? auth.accessToken : auth.password;
  return isSpeakable(auth.username) && (typeof secret === "function" || isSpeakable(secret));
}

function isSpeakable(value: unknown): boolean {
  // deno-lint-ignore no-control-regex
  return typeof value === "string" && /^[^\0-\x1f\x7f]+$/.test(value) && value.isWellFormed();
}

/** What to say to a server that takes these mechanisms. */
export async function exchange(auth: SmtpAuth, offered: ReadonlySet<string>): Promise<Exchange> {
  const { username } = auth;
  if ("accessToken" in auth) {
    if (!offered.has("XOAUTH2")) throw unsupported("smtp", "authentication by token with this server");
    const token = await accessToken(auth.accessToken);
    const initial = base64(`user=${username}\x01auth=Bearer ${token}\x01\x01`);
    // A challenge is an error's text: an empty line asks for the error itself.
    return { mechanism: "XOAUTH2", initial, answers: [""] };
  }
  if (offered.has("PLAIN")) {
    return { mechanism: "PLAIN", initial: base64(`\0${username}\0${auth.password}`), answers: [] };
  }
  if (offered.has("LOGIN")) {
    return { mechanism: "LOGIN", initial: undefined, answers: [base64(username), base64(auth.password)] };
  }
  throw unsupported("smtp", "authentication by password with this server");
}

async function accessToken(source: string | (() => string | Promise<string>)): Promise<string> {
  try {
    const token = typeof source === "function" ? await source() : source;
    if (!isSpeakable(token)) throw new TypeError("The token must be a string without control characters");
    return token;
  } catch (cause) {
    throw mailError("smtp", "unauthorized", "there is no access token", { phase: "auth", cause });
  }
}

function base64(text: string): string {
  return bytesToBase64(new TextEncoder().encode(text));
}
