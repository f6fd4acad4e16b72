// A page of a browser, through the browser's debugging port.
const WebSocket = require('ws')
const http = require('node:http')
const { setTimeout: after } = require('node:timers/promises')

const json = url => new Promise((resolve, reject) => http.get(url, response => {
  let text = ''
  response.on('data', data => { text += data }).on('end', () => resolve(JSON.parse(text)))
}).on('error', reject))

class Page {
  // The page that the browser has open, at http://127.0.0.1:PORT.
  static async of (debuggerUrl) {
    const { webSocketDebuggerUrl } = (await json(`${debuggerUrl}/json`)).find(target => target.type === 'page')
    const socket = new WebSocket(webSocketDebuggerUrl)
    await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject))
    return new Page(socket)
  }

  constructor (socket) {
    this.socket = socket
    this.waiting = new Map()
    this.listeners = new Map()
    this.last = 0
    socket.on('message', data => this.receive(JSON.parse(data)))
    socket.on('close', () => {
      for (const { reject } of this.waiting.values()) reject(new Error('the browser has closed its debugging port'))
    })
  }

  receive ({ id, result, error, method, params }) {
    if (method !== undefined) return this.listeners.get(method)?.(params)
    const { resolve, reject } = this.waiting.get(id)
    this.waiting.delete(id)
    if (error) reject(new Error(error.message))
    else resolve(result)
  }

  on (event, listener) {
    this.listeners.set(event, listener)
  }

  call (method, params) {
    return new Promise((resolve, reject) => {
      this.waiting.set(++this.last, { resolve, reject })
      this.socket.send(JSON.stringify({ id: this.last, method, params }))
    })
  }

  // The value of an expression in the page; undefined if it throws.
  async evaluate (expression) {
    return (await this.call('Runtime.evaluate', { expression })).result.value
  }

  // Waits until a condition holds: an expression in the page, or a function here.
  async until (what, condition, seconds = 15) {
    const deadline = Date.now() + seconds * 1000
    while (true) {
      const holds = typeof condition === 'function' ? condition() : await this.evaluate(condition)
      if (holds === true) return
      if (Date.now() > deadline) break
      await after(100)
    }
    const html = await this.evaluate('document.documentElement.outerHTML')
    throw new Error(`not within ${seconds} s: ${what}; the page is ${String(html).slice(0, 2500)}`)
  }

  close () {
    this.socket.close()
  }
}

module.exports = { Page }
