/** The options of single providers. Each mailer knows the names of its own at run time. */

/**
 * Options of one message by the name of the mailer that they are for. A mailer refuses as `unsupported` a
 * message with options that names other mailers and not itself. A message that may go by several names each,
 * with `{}` where one needs no options.
 *
 * @category Mail
 */
export interface ProviderOptions {
  /** Options of `resendMailer`. */
  readonly resend?: ResendOptions | undefined;
  /** Options of `sendgridMailer`. */
  readonly sendgrid?: SendGridOptions | undefined;
  /** Options of `sesMailer`. */
  readonly ses?: SesOptions | undefined;
  /** Options of `mailgunMailer`. */
  readonly mailgun?: MailgunOptions | undefined;
  /** Options of `postmarkMailer`. */
  readonly postmark?: PostmarkOptions | undefined;
  /** Options of `brevoMailer`. */
  readonly brevo?: BrevoOptions | undefined;
  /** Options of `smtpMailer`. */
  readonly smtp?: SmtpOptions | undefined;
  /** Options of a mailer of your own. */
  readonly [mailer: string]: object | undefined;
}

/**
 * Options of a message for Resend.
 *
 * @see https://resend.com/docs/api-reference/emails/send-email
 * @category Mail
 */
export interface ResendOptions {
  /** A template of the account in place of a body. */
  readonly template?:
    | {
      /** The template's id or alias. */
      readonly id: string;
      /** The values of its variables. */
      readonly variables?: Readonly<Record<string, string | number>> | undefined;
    }
    | undefined;
  /** The topic that recipients can unsubscribe from. */
  readonly topicId?: string | undefined;
}

/**
 * Options of a message for SendGrid. Names within them are written as here and become SendGrid's own
 * (`sandboxMode` is sent as `sandbox_mode`); the template's data are sent as they are.
 *
 * @see https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
 * @category Mail
 */
export interface SendGridOptions {
  /** A template of the account in place of a body. */
  readonly templateId?: string | undefined;
  /** The values for a dynamic template. */
  readonly dynamicTemplateData?: Readonly<Record<string, unknown>> | undefined;
  /** The group that recipients can unsubscribe from. */
  readonly asm?:
    | { readonly groupId: number; readonly groupsToDisplay?: readonly number[] | undefined }
    | undefined;
  /** SendGrid's `mail_settings`, such as `{ sandboxMode: { enable: true } }`. */
  readonly mailSettings?: Readonly<Record<string, unknown>> | undefined;
  /** SendGrid's `tracking_settings`, such as `{ openTracking: { enable: false } }`. */
  readonly trackingSettings?: Readonly<Record<string, unknown>> | undefined;
  /** The pool of IP addresses to send from. */
  readonly ipPoolName?: string | undefined;
  /** The batch by which scheduled messages can be cancelled. */
  readonly batchId?: string | undefined;
}

/**
 * Options of a message for SES.
 *
 * @see https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
 * @category Mail
 */
export interface SesOptions {
  /** The configuration set to send with. */
  readonly configurationSetName?: string | undefined;
  /** The tenant to send as. */
  readonly tenantName?: string | undefined;
  /** The multi-region endpoint to send through. */
  readonly endpointId?: string | undefined;
  /** The identity that authorises the use of the sender's address. */
  readonly fromArn?: string | undefined;
  /** The address that bounces and complaints are forwarded to. */
  readonly feedbackAddress?: string | undefined;
  /** The identity that authorises the use of `feedbackAddress`. */
  readonly feedbackArn?: string | undefined;
  /** The contact list, and its topic, that recipients can unsubscribe from. */
  readonly listManagement?:
    | { readonly contactListName: string; readonly topicName?: string | undefined }
    | undefined;
  /** A template of the account in place of a body. Not with `mime`. */
  readonly template?:
    | {
      /** The template's name. */
      readonly name?: string | undefined;
      /** The template's ARN, in place of its name. */
      readonly arn?: string | undefined;
      /** The values of its variables. */
      readonly data?: Readonly<Record<string, unknown>> | undefined;
    }
    | undefined;
}

/**
 * Options of a message for Mailgun.
 *
 * @see https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages
 * @category Mail
 */
export interface MailgunOptions {
  /** A template of the domain in place of a body. Not with `mime`. */
  readonly template?: string | undefined;
  /** The template's version. */
  readonly templateVersion?: string | undefined;
  /** Whether Mailgun makes the text body from the template. */
  readonly templateText?: boolean | undefined;
  /** The values of the template's variables. */
  readonly variables?: Readonly<Record<string, unknown>> | undefined;
  /** Whether opens and clicks are tracked. */
  readonly tracking?: boolean | undefined;
  /** Whether clicks are tracked. */
  readonly trackingClicks?: boolean | "htmlonly" | undefined;
  /** Whether opens are tracked. */
  readonly trackingOpens?: boolean | undefined;
  /** Whether the message is accepted and not delivered. */
  readonly testmode?: boolean | undefined;
  /** Whether Mailgun signs. */
  readonly dkim?: boolean | undefined;
  /** Whether the message goes over encrypted connections only. */
  readonly requireTls?: boolean | undefined;
  /** Whether certificates are not checked. */
  readonly skipVerification?: boolean | undefined;
  /** The IP address to send from. */
  readonly sendingIp?: string | undefined;
  /** The pool of IP addresses to send from. */
  readonly sendingIpPool?: string | undefined;
}

/**
 * Options of a message for Postmark.
 *
 * @see https://postmarkapp.com/developer/api/email-api
 * @category Mail
 */
export interface PostmarkOptions {
  /** The stream to send in; Postmark's default is `outbound`. */
  readonly messageStream?: string | undefined;
  /** A template of the server in place of a body: its id. */
  readonly templateId?: number | undefined;
  /** A template of the server in place of a body: its alias. */
  readonly templateAlias?: string | undefined;
  /** The values of the template's variables. */
  readonly templateModel?: Readonly<Record<string, unknown>> | undefined;
  /** Whether Postmark moves style blocks into attributes. */
  readonly inlineCss?: boolean | undefined;
  /** Whether opens are tracked. */
  readonly trackOpens?: boolean | undefined;
  /** The links that are tracked. */
  readonly trackLinks?: "None" | "HtmlAndText" | "HtmlOnly" | "TextOnly" | undefined;
}

/**
 * Options of a message for Brevo.
 *
 * @see https://developers.brevo.com/reference/sendtransacemail
 * @category Mail
 */
export interface BrevoOptions {
  /** A template of the account in place of a body. */
  readonly templateId?: number | undefined;
  /** The values of the template's variables. */
  readonly params?: Readonly<Record<string, unknown>> | undefined;
  /** The batch by which scheduled messages can be cancelled. */
  readonly batchId?: string | undefined;
}

/**
 * Options of a message over SMTP.
 *
 * @category Mail
 */
export interface SmtpOptions {
  /** The envelope, where it is not the one that the message's fields say. */
  readonly envelope?:
    | {
      /**
       * The address that bounces go to; "" wants none, as bounces themselves must.
       * @default {the address of the message's `from`}
       */
      readonly from?: string | undefined;
      /**
       * The recipients.
       * @default {the message's to, cc and bcc}
       */
      readonly to?: readonly string[] | undefined;
    }
    | undefined;
  /**
   * Makes the sender of each recipient's envelope name that recipient, so that a bounce tells whom it is
   * about: with `bounces@example.com`, that of `jane@example.net` is `bounces+jane=example.net@example.com`.
   * The message goes out once per recipient. Not with `envelope.from`.
   */
  readonly verp?: string | undefined;
  /** The notifications that are asked of servers (RFC 3461), where the server offers them. */
  readonly dsn?: SmtpNotifications | undefined;
  /**
   * Whether the message may go over encrypted connections only, up to the recipient's server (RFC 8689). The
   * server must offer it.
   */
  readonly requireTls?: boolean | undefined;
  /**
   * The whole message as text, headers and body, in place of one that is built from the fields; line breaks
   * become CRLF. Of the fields only the addresses count, for the envelope. It is sent as it is: `mime`, and a
   * signature with it, does not see it.
   */
  readonly raw?: string | undefined;
}

/**
 * The notifications that are asked of servers.
 *
 * @see https://www.rfc-editor.org/rfc/rfc3461
 * @category Mail
 */
export interface SmtpNotifications {
  /** The events to be told of, or `never`. */
  readonly notify?: "never" | readonly ("success" | "failure" | "delay")[] | undefined;
  /** The part of the message that a notification returns. */
  readonly return?: "headers" | "full" | undefined;
  /** An id that notifications repeat: 1 to 100 visible ASCII characters. */
  readonly envelopeId?: string | undefined;
}
