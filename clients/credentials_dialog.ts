/** Asks somebody at a terminal who he is. */

import { checkNewPassword, readUserName } from "../protocol/chat.ts";
import { WireError } from "../protocol/errors.ts";
import { escapeText } from "../nodes/host/text.ts";
import type { ChatProblem, Credentials } from "./chat_contract.ts";
import type { ChatFlags } from "./chat_flags.ts";
import type { ChatTerminal } from "./chat_terminal.ts";
import { MENU, readTyped, type Typed } from "./chat_typed.ts";

/** What is known already, and whether the menu comes first. */
export interface DialogOptions
  extends Pick<ChatFlags, "user" | "password" | "register"> {
  readonly terminal: ChatTerminal | undefined;
  /** Else a name and a password are asked for at once, new or not. */
  readonly hasMenu: boolean;
}

/** One person's login, from the first question to the last. */
export class CredentialsDialog {
  readonly #options: DialogOptions;
  /** Whether the account is to be made. */
  #isNew: boolean;
  /** What was last tried without a menu: it may be somebody new. */
  #tried: Credentials | undefined;
  #hasExplained = false;
  /** What was chosen from the menu before anybody was logged in. */
  chosen: Typed | undefined;

  constructor(options: DialogOptions) {
    this.#options = options;
    this.#isNew = options.register;
  }

  /**
   * Asks for what is not known.
   *
   * @param problem Why the last answer was not taken.
   * @returns Undefined: there is nobody to ask, or nobody wants to say.
   */
  async ask(
    problem: ChatProblem | undefined,
  ): Promise<Credentials | undefined> {
    const { user, password, register, terminal, hasMenu } = this.#options;
    if (problem === undefined && user !== undefined && password !== undefined) {
      return { user, password, isNew: register };
    }
    if (terminal === undefined) return undefined;
    if (!hasMenu) return await this.#askAtOnce(terminal, problem);
    if (user === undefined && problem === undefined) {
      const choice = await this.#menu(terminal);
      if (choice === undefined) return undefined;
      this.#isNew ||= choice === "Register";
    }
    const name = user ?? (await terminal.ask("Name: "))?.trim();
    return name === undefined
      ? undefined
      : await this.#password(terminal, name);
  }

  /** Whether the next question says enough of this problem. */
  mayBeNew(problem: ChatProblem | undefined): boolean {
    return this.#tried !== undefined && problem?.code === "wrong-password";
  }

  async #password(
    terminal: ChatTerminal,
    user: string,
  ): Promise<Credentials | undefined> {
    const question = `Password of ${escapeText(user)}: `;
    for (;;) {
      const password = await terminal.askSecret(question);
      if (password === undefined) return undefined;
      const isNew = this.#isNew;
      if (!isNew || await terminal.askSecret("The same again: ") === password) {
        return { user, password, isNew };
      }
      terminal.print("These are two passwords");
    }
  }

  async #menu(terminal: ChatTerminal): Promise<string | undefined> {
    MENU.forEach((entry, index) => terminal.print(`  ${index + 1}  ${entry}`));
    for (;;) {
      const answer = await terminal.ask(`1 to ${MENU.length}: `);
      if (answer === undefined) return undefined;
      const number = Number(answer.trim());
      const entry = MENU[number - 1] ??
        MENU.find((one) => one.toLowerCase() === answer.trim().toLowerCase());
      if (entry === "Quit") return undefined;
      if (entry === undefined) continue;
      if (entry === "View Messages") {
        this.chosen = readTyped("/list", undefined);
      }
      if (entry === "Delete Account") this.chosen = { kind: "delete-account" };
      if (entry !== "Register" && entry !== "Login") {
        terminal.print("Log in first");
      }
      return entry;
    }
  }

  // Without a menu: whoever is not known may be new

  async #askAtOnce(
    terminal: ChatTerminal,
    problem: ChatProblem | undefined,
  ): Promise<Credentials | undefined> {
    const tried = this.mayBeNew(problem) ? this.#tried : undefined;
    this.#tried = undefined;
    if (tried !== undefined) {
      const made = await this.#offerAccount(terminal, tried);
      if (made !== "no") return made;
    }
    const name = this.#options.user ?? await this.#name(terminal);
    if (name === undefined) return undefined;
    const credentials = await this.#password(terminal, name);
    if (!this.#isNew) this.#tried = credentials;
    return credentials;
  }

  async #name(terminal: ChatTerminal): Promise<string | undefined> {
    if (!this.#hasExplained) {
      terminal.print("Pick a name; one that is new here gets an account");
    }
    this.#hasExplained = true;
    for (;;) {
      const name = (await terminal.ask("Name: "))?.trim();
      if (name === undefined) return undefined;
      if (name === "") continue;
      const problem = whyNot(() => readUserName(name));
      if (problem === undefined) return name;
      terminal.print(problem);
    }
  }

  /** The same password once more makes the account; nothing starts over. */
  async #offerAccount(
    terminal: ChatTerminal,
    tried: Credentials,
  ): Promise<Credentials | undefined | "no"> {
    const { user, password } = tried;
    const problem = whyNot(() => checkNewPassword(password));
    if (problem !== undefined) {
      terminal.print(problem);
      return "no";
    }
    const again = await terminal.askSecret(
      `If ${
        escapeText(user)
      } is new here, the same password again; else Enter: `,
    );
    if (again === undefined) return undefined;
    if (again === password) return { user, password, isNew: true };
    if (again !== "") terminal.print("These are two passwords");
    return "no";
  }
}

function whyNot(check: () => void): string | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return error.message;
  }
}
