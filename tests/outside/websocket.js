// A WebSocket echo with the library `ws` at both ends: node websocket.js serve | node websocket.js ask URL
const WebSocket = require('ws')
const { randomBytes } = require('node:crypto')
const { setTimeout: after } = require('node:timers/promises')

function serve () {
  const server = new WebSocket.Server({ port: 0, host: '127.0.0.1', handleProtocols: offered => [...offered][0] })
  server.on('listening', () => console.log(`listening at 127.0.0.1:${server.address().port}`))
  server.on('connection', socket => {
    socket.on('message', (data, binary) => {
      if (!binary && data.toString() === 'close with 4321') return socket.close(4321, 'as you like')
      socket.send(data, { binary })
    })
  })
}

const heard = (socket, event) => new Promise((resolve, reject) => {
  socket.once(event, (...said) => resolve(said))
  socket.once('error', reject)
})

async function ask (url) {
  const socket = new WebSocket(url, 'chat.v1')
  await heard(socket, 'open')
  if (socket.protocol !== 'chat.v1') throw new Error(`the subprotocol is ${socket.protocol}`)
  let messages = 0
  for (const size of [0, 1, 125, 126, 65535, 65536, 1 << 20, 7, 300000]) {
    for (const message of [randomBytes(size), randomBytes(size >> 1).toString('hex')]) {
      const answer = heard(socket, 'message')
      socket.send(message)
      const [data, binary] = await answer
      if (binary !== (typeof message !== 'string') || !data.equals(Buffer.from(message))) {
        throw new Error(`a message of ${size} bytes came back as another`)
      }
      messages += 1
    }
  }
  // Several under way at once come back in order.
  const back = []
  const all = new Promise(resolve => socket.on('message', data => back.push(data.toString()) === 500 && resolve()))
  for (let n = 0; n < 500; n++) socket.send(`message ${n}`)
  await all
  if (back.some((text, n) => text !== `message ${n}`)) throw new Error('messages came back out of order')
  socket.removeAllListeners('message')
  // A pause, in which nothing must happen to the connection.
  await after(1500)
  const pong = heard(socket, 'pong')
  socket.ping('are you there')
  if ((await pong)[0].toString() !== 'are you there') throw new Error('another pong')
  const closed = heard(socket, 'close')
  socket.send('close with 4321')
  const [code, reason] = await closed
  if (code !== 4321 || reason.toString() !== 'as you like') throw new Error(`closed with ${code} ${reason}`)
  console.log(`${messages + 500} messages echoed, closed with the other side's code`)
}

const [what, url] = process.argv.slice(2)
const failed = error => { console.error(error); process.exit(1) }
what === 'serve' ? serve() : ask(url).catch(failed)
