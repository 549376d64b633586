// The echo server of the Autobahn cases. Prints its port. Limits are raised to what the cases send: 65,536 fragments, 16 MiB.
const { WebSocketServer } = require('ws');
const server = new WebSocketServer({
  host: '127.0.0.1', port: 0, perMessageDeflate: false, maxPayload: 1 << 26, maxFragments: 1 << 20, maxBufferedChunks: 1 << 22,
});
server.on('listening', () => console.log(server.address().port));
server.on('connection', (socket) => {
  socket.on('error', () => {});
  socket.on('message', (message, binary) => socket.send(message, { binary }));
});
