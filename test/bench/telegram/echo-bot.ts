import { Bot } from "grammy";

/** The least that answers: grammY with its own long polling. Usage: echo-bot.ts TOKEN API_ROOT */
const [token = "", apiRoot = ""] = process.argv.slice(2);
const bot = new Bot(token, { client: { apiRoot } });
bot.on("message:text", (context) => context.reply(context.message.text));
await bot.start();
