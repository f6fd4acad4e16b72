// For each line of JSON on standard input, {port, method, path, marker}: asks for the path and then for the marker, over an
// agent that keeps its connection, and says in a line what came: {first: {status, body} or {error}, second: the same}.
const http = require('node:http')
const readline = require('node:readline')

function ask (agent, port, method, path, done) {
  const request = http.request({ agent, port, host: '127.0.0.1', method, path, timeout: 4000 }, response => {
    const parts = []
    response.on('data', data => parts.push(data))
    response.on('end', () => done({ status: response.statusCode, body: Buffer.concat(parts).toString('base64') }))
    response.on('error', error => done({ error: error.message }))
  })
  request.on('timeout', () => request.destroy(new Error('timeout')))
  request.on('error', error => done({ error: error.message }))
  request.end()
}

function once (work) {
  let done = false
  return said => { if (!done) { done = true; work(said) } }
}

readline.createInterface({ input: process.stdin }).on('line', line => {
  const { id, port, method, path, marker } = JSON.parse(line)
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  ask(agent, port, method, path, once(first => setImmediate(() => {
    ask(agent, port, 'GET', marker, once(second => {
      agent.destroy()
      console.log(JSON.stringify({ id, first, second }))
    }))
  })))
})
console.log('ready')
