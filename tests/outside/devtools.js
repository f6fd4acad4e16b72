// The page of a headless browser, by its debugging port.
const http = require('node:http')
const WebSocket = require('ws')

const json = url => new Promise((resolve, reject) => http.get(url, response => {
  let text = ''
  response.on('data', data => { text += data }).on('end', () => resolve(JSON.parse(text)))
}).on('error', reject))

// Returns the connection and a function that calls a method and waits for its result. What the browser says by itself
// goes to `heard`, method and parameters.
async function connect (debuggerUrl, heard = () => {}) {
  const page = (await json(`${debuggerUrl}/json`)).find(target => target.type === 'page')
  const socket = new WebSocket(page.webSocketDebuggerUrl)
  await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject))
  const replies = new Map()
  let last = 0
  socket.on('message', data => {
    const { id, result, error, method, params } = JSON.parse(data)
    if (method) return heard(method, params)
    replies.get(id)?.(result ?? error)
    replies.delete(id)
  })
  const call = (method, params) => new Promise(resolve => {
    socket.send(JSON.stringify({ id: ++last, method, params }))
    replies.set(last, resolve)
  })
  return { socket, call }
}

module.exports = { connect }
