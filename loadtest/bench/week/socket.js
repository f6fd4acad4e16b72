// A WebSocket client as applications have them: node socket.js URL
//
// It sends a message four times a second and wants each back, in order. When its connection ends it opens another after
// a pause that grows with each failure. It has no heartbeat: it relies on being told when the other side has gone. A
// line for everything that happens goes to standard output.
'use strict'
const { randomBytes } = require('node:crypto')
const WebSocket = require('ws')
const url = process.argv[2]

const EVERY = 250 // milliseconds between messages
const [FIRST_PAUSE, LONGEST_PAUSE] = [250, 5000] // milliseconds
const HANDSHAKE = 90000 // milliseconds; the relay answers earlier
let pause = FIRST_PAUSE

const say = (...words) => console.log(JSON.stringify(words))

function connect () {
  const socket = new WebSocket(url, { handshakeTimeout: HANDSHAKE })
  const sent = [] // and not back yet
  let timer
  let trouble

  socket.on('open', () => {
    timer = setInterval(() => {
      const message = randomBytes(1 + Math.floor(Math.random() * 2000))
      sent.push([Date.now(), message])
      socket.send(message)
    }, EVERY)
  })
  socket.on('message', data => {
    const [asked, message] = sent.shift() ?? [Date.now(), Buffer.alloc(0)]
    if (!message.equals(data)) {
      say('wrong', `${data.length} bytes came back for ${message.length}`, asked)
      return socket.terminate()
    }
    pause = FIRST_PAUSE
    say('right', asked, Date.now())
  })
  socket.on('unexpected-response', (request, response) => {
    trouble = ['refused', `${response.statusCode} ${response.headers['x-relay-error'] ?? ''}`.trim()]
    request.destroy()
    ended()
  })
  socket.on('error', error => { trouble ??= ['failed', error.code ?? error.message] })
  socket.on('close', code => ended(code))

  let over = false
  function ended (code) {
    if (over) return
    over = true
    clearInterval(timer)
    say(...(trouble ?? ['failed', `closed with ${code}`]))
    setTimeout(connect, pause * (0.5 + Math.random() / 2))
    pause = Math.min(2 * pause, LONGEST_PAUSE)
  }
}

connect()
