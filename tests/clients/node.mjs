// Node's fetch, undici, axios and https-proxy-agent. What the cases are, and what each script is given: tests/all/matrix/mod.rs.
import fs from "node:fs";
import https from "node:https";
import { createRequire } from "node:module";
import { pipeline } from "node:stream/promises";

const [library, kind] = process.argv.slice(2);
const { PROXY, URL: url, IN, OUT, MODULES } = process.env;
const require = createRequire(MODULES);
const HELLO = "over a websocket";

const isImpossible = (why) => {
    console.log(why);
    process.exit(77);
};
const get = () => ["get", "http2", "down", "six", "literal", "keep-alive", "refused"].includes(kind);
const times = () => (kind === "keep-alive" ? 2 : 1);

async function print(chunks) {
    for await (const chunk of chunks) process.stdout.write(Buffer.from(chunk));
}

// A WebSocket as browsers have it.
const echo = (socket) =>
    new Promise((resolve, reject) => {
        socket.onopen = () => socket.send(HELLO);
        socket.onerror = (event) => reject(event.error ?? new Error("no WebSocket"));
        socket.onmessage = ({ data }) => {
            console.log(data);
            socket.close();
            resolve();
        };
    });

async function fetchWith(fetch, more) {
    if (get()) {
        for (let time = 0; time < times(); time += 1) {
            fs.writeFileSync(OUT, Buffer.from(await (await fetch(url, more)).arrayBuffer()));
            // A connection is free one turn behind the last byte; asked before that, undici opens another one.
            await new Promise(setImmediate);
        }
    } else if (kind === "up") {
        await fetch(url, { method: "PUT", body: await fs.openAsBlob(IN), ...more });
    } else {
        await print((await fetch(url, more)).body);
    }
}

const libraries = {
    async fetch() {
        if (kind === "http2") isImpossible("its fetch asks for HTTP/1.1; with undici");
        if (kind === "websocket") await echo(new WebSocket(url));
        else await fetchWith(fetch, {});
    },
    async undici() {
        const { ProxyAgent, WebSocket, fetch } = require("undici");
        const dispatcher = new ProxyAgent({ uri: PROXY, allowH2: kind === "http2" });
        if (kind === "websocket") await echo(new WebSocket(url, { dispatcher }));
        else await fetchWith(fetch, { dispatcher });
        await dispatcher.close();
    },
    async axios() {
        if (kind === "http2") isImpossible("HTTP/1.1 alone through a proxy");
        if (kind === "websocket") isImpossible("no WebSocket");
        const axios = require("axios");
        const { hostname, port } = new URL(PROXY);
        const more = { proxy: { protocol: "http", host: hostname.replace(/[[\]]/g, ""), port: Number(port) } };
        for (let time = 0; get() && time < times(); time += 1) {
            fs.writeFileSync(OUT, (await axios.get(url, { responseType: "arraybuffer", ...more })).data);
        }
        if (kind === "up") await axios.put(url, fs.createReadStream(IN), { maxBodyLength: Infinity, maxRedirects: 0, ...more });
        if (kind === "events") await print((await axios.get(url, { responseType: "stream", ...more })).data);
    },
    async "https-proxy-agent"() {
        if (kind === "http2") isImpossible("HTTP/1.1 alone");
        const { HttpsProxyAgent } = require("https-proxy-agent");
        const agent = new HttpsProxyAgent(PROXY, { keepAlive: kind === "keep-alive" });
        if (kind === "websocket") {
            const WebSocket = require("ws");
            await echo(new WebSocket(url, { agent }));
            return;
        }
        const ask = (method, body) =>
            new Promise((resolve, reject) => {
                const request = https.request(url, { agent, method }, resolve).on("error", reject);
                if (body) pipeline(body, request).catch(reject);
                else request.end();
            });
        for (let time = 0; get() && time < times(); time += 1) {
            const answer = await ask("GET");
            if (kind === "refused") {
                console.log(`${answer.statusCode} ${answer.statusMessage}`);
                await print(answer);
                process.exit(0);
            }
            await pipeline(answer, fs.createWriteStream(OUT));
        }
        if (kind === "up") await print(await ask("PUT", fs.createReadStream(IN)));
        if (kind === "events") await print(await ask("GET"));
        agent.destroy();
    },
};

// What Node prints of an error that nobody caught, without the stack.
function lines(error) {
    const causes = [error.cause, ...(error.errors ?? [])].filter(Boolean);
    return [`${error.name}: ${error.message}`, ...causes.flatMap(lines)];
}

if (kind === "version") {
    console.log(library === "fetch" ? process.versions.node : JSON.parse(fs.readFileSync(`${MODULES}node_modules/${library}/package.json`)).version);
} else if (kind !== "prepare") {
    libraries[library]().catch((error) => {
        const text = lines(error).join("\n");
        if (kind === "literal" && text.includes("altnames")) isImpossible("finds no such address in the certificate");
        if (kind === "literal" && text.includes("status code 400")) isImpossible("asks for `::1:443` without brackets, which is malformed");
        console.error(text);
        process.exitCode = 1;
    });
}
