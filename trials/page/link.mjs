// A line between two services, which is cut while a file exists.
//
//     node link.mjs PORT TO_PORT CUT_FILE

import { existsSync } from 'node:fs';
import { connect, createServer } from 'node:net';

const [port, toPort, cutFile] = process.argv.slice(2);
const sockets = new Set();

function keep(socket, other) {
  sockets.add(socket);
  socket.on('error', () => {});
  socket.on('close', () => {
    sockets.delete(socket);
    other.destroy();
  });
}

createServer((from) => {
  if (existsSync(cutFile)) {
    from.destroy();
    return;
  }
  const to = connect(Number(toPort), '127.0.0.1');
  keep(from, to);
  keep(to, from);
  from.pipe(to).pipe(from);
}).listen(Number(port), '127.0.0.1');

setInterval(() => {
  if (existsSync(cutFile)) for (const socket of sockets) socket.destroy();
}, 200);
