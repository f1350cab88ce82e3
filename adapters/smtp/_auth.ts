/** The ways to authenticate (RFC 4954): PLAIN, LOGIN and XOAUTH2. */
import { mailError, unsupported } from "../../src/mail/mail_error.ts";
import { base64, MAX_COMMAND } from "./_auth_line.ts";
import type { Reply } from "./_reply.ts";
import type { SmtpMechanism } from "./sasl.ts";

/**
 * Credentials: a password, or a token of OAuth 2 (`XOAUTH2`).
 *
 * @category Mailers
 */
export type SmtpAuth =
  | {
    /** The account. */
    readonly username: string;
    /** Its password. */
    readonly password: string;
    /**
     * The mechanism: a name, or one that is handed in (`scramSha256`, `cramMd5`).
     * @default {PLAIN, or LOGIN where the server does not take PLAIN}
     */
    readonly mechanism?: "PLAIN" | "LOGIN" | SmtpMechanism | undefined;
  }
  | {
    /** The account. */
    readonly username: string;
    /** A token, or a function that gets one: called for every connection. */
    readonly accessToken: string | (() => string | Promise<string>);
    /**
     * The mechanism: its name, or one that is handed in (`oauthBearer`).
     * @default {"XOAUTH2"}
     */
    readonly mechanism?: "XOAUTH2" | SmtpMechanism | undefined;
  };

/**
 * Sends `AUTH`, or a response, and reads the reply; the secret is kept out of every account of what was sent.
 */
export type AuthCommand = (command: string, secret?: string) => Promise<Reply>;

/** Goes through a mechanism and answers the server's last reply: 235 when it accepts. */
export type Authentication = (send: AuthCommand) => Promise<Reply>;

/** Tells whether every mechanism can carry these credentials. */
export function isAuth(auth: SmtpAuth): boolean {
  if (typeof auth !== "object" || auth === null) return false;
  const secret = "accessToken" in auth ? auth.accessToken : auth.password;
  const { mechanism = "PLAIN" } = auth;
  const known = typeof mechanism === "object" || /^(?:PLAIN|LOGIN|XOAUTH2)$/.test(mechanism);
  return known && isClean(auth.username) && (typeof secret === "function" || isClean(secret));
}

function isClean(value: unknown): boolean {
  // deno-lint-ignore no-control-regex
  return typeof value === "string" && /^[^\0-\x1f\x7f]+$/.test(value) && value.isWellFormed();
}

/**
 * The mechanisms to try with a server that offers these, in order. LOGIN follows PLAIN where both are
 * offered: some servers list PLAIN and answer 504 to it.
 *
 * @throws {MailError} `unsupported` when there is none
 */
export async function mechanismsFor(auth: SmtpAuth, offered: ReadonlySet<string>): Promise<Authentication[]> {
  const { username, mechanism } = auth;
  const byToken = "accessToken" in auth;
  const own = typeof mechanism === "object" ? mechanism : undefined;
  const wanted = own?.name ?? mechanism as string | undefined;
  const names = wanted ? [wanted] : byToken ? ["XOAUTH2"] : ["PLAIN", "LOGIN"];
  const usable = names.filter((name) => offered.has(name));
  if (usable.length === 0) throw unsupported("smtp", `${names.join(" or ")} with this server`);
  const secret = byToken ? await accessToken(auth.accessToken) : auth.password;
  return usable.map((name) => (send) =>
    own?.authenticate({ username, secret }, send) ??
      authenticate(name, responsesOf(name, username, secret), send)
  );
}

/** The responses that a mechanism consists of, in base64. */
function responsesOf(name: string, username: string, secret: string): string[] {
  if (name === "LOGIN") return [base64(username), base64(secret)];
  return [
    base64(
      name === "PLAIN" ? `\0${username}\0${secret}` : `user=${username}\x01auth=Bearer ${secret}\x01\x01`,
    ),
  ];
}

/**
 * Goes through one mechanism and answers the server's last reply: 235 when it accepts. LOGIN has no initial
 * response; a challenge of XOAUTH2 after the last one is an error's text, which an empty line turns into the
 * error itself.
 */
async function authenticate(name: string, responses: readonly string[], send: AuthCommand): Promise<Reply> {
  const explains = name === "XOAUTH2";
  const initial = name !== "LOGIN";
  const first = responses[0]!;
  // A longer line would break the limit: then the response waits for the server's challenge.
  const inline = initial && `AUTH ${name} ${first}\r\n`.length <= MAX_COMMAND;
  let reply = await send(`AUTH ${name}`, inline ? first : undefined);
  const left = inline ? responses.slice(1) : [...responses];
  let mayRepeat = inline; // a server that ignores an initial response asks for it once more
  let mayExplain = explains;
  while (reply.code === 334) {
    const empty = reply.lines.join("").trim() === "";
    const next = left.shift();
    if (next !== undefined) reply = await send("", next);
    else if (mayRepeat && (empty || !explains)) {
      mayRepeat = false;
      reply = await send("", first);
    } else if (mayExplain) {
      mayExplain = false;
      reply = await send("", "");
    } else {
      await send("*"); // cancels: there is nothing more to say
      throw mailError("smtp", "unauthorized", `the server asks for more than ${name} consists of`, {
        phase: "auth",
        status: 334,
      });
    }
  }
  return reply;
}

async function accessToken(source: string | (() => string | Promise<string>)): Promise<string> {
  try {
    const token = typeof source === "function" ? await source() : source;
    if (!isClean(token)) throw new TypeError("The token must be a string without control characters");
    return token;
  } catch (cause) {
    throw mailError("smtp", "unauthorized", "there is no access token", { phase: "auth", cause });
  }
}
