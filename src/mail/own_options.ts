/** The check that a message with options of providers reaches only mailers that it names. */
import { checkNames } from "../validate.ts";
import { unsupported } from "./mail_error.ts";
import type { PreparedMessage } from "./message.ts";

/**
 * The options of a message for one mailer, with the mailer's defaults under them.
 *
 * @throws {MailError} `unsupported` when the message is meant for other mailers
 * @throws {TypeError} when an option is not one of `known`
 */
export function optionsFor<Options extends object>(
  mailer: string,
  message: PreparedMessage,
  known: Readonly<Record<string, true>> = {},
  defaults?: Options,
): Options {
  const { provider } = message;
  const own = provider?.[mailer] as Options | undefined;
  if (provider && !own) throw unsupported(mailer, `options of ${Object.keys(provider).join(", ")}`);
  checkNames(`send as 'provider.${mailer}' is given`, own, known);
  return { ...defaults, ...own } as Options;
}
