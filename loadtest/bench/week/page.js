// Has a headless browser open a page and writes what the page says, a line each: node page.js DEBUGGER-URL PAGE-URL
//
// Once the page is there nobody touches it, except that each line of standard input has it opened anew.
'use strict'
const http = require('node:http')
const { setTimeout: after } = require('node:timers/promises')
const WebSocket = require('ws')
const [debuggerUrl, pageUrl] = process.argv.slice(2)

const AGAIN = 1000 // milliseconds until the page is tried again that could not be opened

const json = url => new Promise((resolve, reject) => http.get(url, response => {
  let text = ''
  response.on('data', data => { text += data }).on('end', () => resolve(JSON.parse(text)))
}).on('error', reject))

async function watch () {
  const page = (await json(`${debuggerUrl}/json`)).find(target => target.type === 'page')
  const socket = new WebSocket(page.webSocketDebuggerUrl)
  await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject))
  socket.on('close', () => process.exit(1))
  const replies = new Map()
  let last = 0
  const call = (method, params) => new Promise(resolve => {
    socket.send(JSON.stringify({ id: ++last, method, params }))
    replies.set(last, resolve)
  })
  socket.on('message', data => {
    const { id, result, method, params } = JSON.parse(data)
    if (replies.has(id)) replies.get(id)(result)
    replies.delete(id)
    if (method === 'Runtime.consoleAPICalled') console.log(params.args[0].value)
    if (method === 'Network.responseReceived' && params.type === 'EventSource' && params.response.status !== 200) {
      const { status, headers } = params.response
      console.log(JSON.stringify(['refused', `${status} ${headers['x-relay-error'] ?? headers['X-Relay-Error'] ?? ''}`.trim()]))
    }
  })
  await call('Page.enable')
  await call('Runtime.enable')
  await call('Network.enable')
  const title = 'new Promise(done => document.readyState === "complete" ? done() : window.addEventListener("load", done))' +
    '.then(() => document.title)'
  const open = async () => {
    for (;; await after(AGAIN)) {
      await call('Page.navigate', { url: pageUrl })
      const found = await call('Runtime.evaluate', { expression: title, awaitPromise: true })
      if (found?.result?.value === 'events') return
    }
  }
  await open()
  for await (const _line of process.stdin) await open()
}

watch().catch(error => { console.error(error); process.exit(1) })
