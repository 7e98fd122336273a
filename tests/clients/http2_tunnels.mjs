// Node's http2 through an HTTP/2 proxy: so many fetches of one file at once, over one connection. Prints what each came to.
import fs from "node:fs";
import http2 from "node:http2";
import tls from "node:tls";

const [proxy, folder, authority, target, count] = process.argv.slice(2);
const read = (name) => fs.readFileSync(`${folder}/${name}`);
const session = http2.connect(`https://${proxy}`, {
    ca: read("ca.pem"), cert: read("right.pem"), key: read("right.key"), servername: "proxy.test",
});
session.on("error", (error) => console.error(error));

const fetched = (tunnel) =>
    new Promise((resolve, reject) => {
        const servername = target.split(":")[0];
        const inside = tls.connect({ socket: tunnel, servername, ca: fs.readFileSync(authority) });
        const chunks = [];
        inside.on("data", (chunk) => chunks.push(chunk));
        inside.on("error", reject);
        inside.on("end", () => {
            const answer = Buffer.concat(chunks);
            const head = answer.indexOf("\r\n\r\n") + 4;
            tunnel.end();
            resolve([Number(answer.toString("latin1", 9, 12)), session.socket.localPort, answer.length - head]);
        });
        inside.write(`GET /file HTTP/1.1\r\nHost: ${servername}\r\nConnection: close\r\n\r\n`);
    });

const fetch = () =>
    new Promise((resolve, reject) => {
        const tunnel = session.request({ ":method": "CONNECT", ":authority": target });
        tunnel.on("error", reject);
        tunnel.on("response", async (headers) => {
            const status = headers[":status"];
            if (status !== 200) return resolve([status]);
            resolve([status, ...(await fetched(tunnel))]);
        });
    });

for (const told of await Promise.all(Array.from({ length: Number(count) }, fetch))) console.log(JSON.stringify(told));
session.close();
