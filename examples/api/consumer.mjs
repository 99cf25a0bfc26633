import http from "node:http";

const api = (method, path, body) => new Promise((resolve, reject) => {
  const headers = { "Content-Type": "application/json" };
  http.request({ socketPath: process.argv[2], method, path, headers }, async (response) => {
    let text = "";
    for await (const part of response) text += part;
    response.statusCode < 300 ? resolve(JSON.parse(text)) : reject(new Error(text));
  }).on("error", reject).end(body && JSON.stringify(body));
});

for (let stop = false; !stop; ) {
  for (const { id, peer, text, request } of (await api("GET", "/v1/messages")).messages) {
    console.log(peer, text);
    await api("POST", `/v1/messages/${id}/handled`, request ? { text: text.toUpperCase() } : {});
    stop ||= text === "stop";
  }
}
