// Uses Node-RED's editor in a headless browser: node node_red.js DEBUGGER-URL ADDRESS NAME
//
// ADDRESS is where the relay has Node-RED; the relay adds a slash if it ends without one. NAME tells apart what is
// deployed here from what others deploy. Writes what was seen as JSON.
const assert = require('node:assert')
const http = require('node:http')
const { Page } = require('./devtools.js')
const { Traffic } = require('./traffic.js')
const [debuggerUrl, address, name] = process.argv.slice(2)
const root = address.replace(/\/?$/, '/')

let page, traffic
const seen = { checks: 0, requests: 0, unmodified: 0 }

async function check (what, condition) {
  await page.until(what, condition, 20)
  seen.checks++
}

// What a button sends goes to the debug sidebar; so does what a visitor is answered.
const flow = [
  { id: `${name}-tab`, type: 'tab', label: `flow of ${name}` },
  {
    id: `${name}-button`, type: 'inject', name: 'button', x: 150, y: 80, wires: [[`${name}-debug`]],
    props: [{ p: 'payload' }], payload: `pressed in ${name}`, payloadType: 'str', repeat: '', crontab: '', once: false
  },
  {
    id: `${name}-in`, type: 'http in', name: '', x: 150, y: 160, wires: [[`${name}-text`]],
    url: `/${name}/hello`, method: 'post', upload: false
  },
  {
    id: `${name}-text`, type: 'template', name: '', x: 330, y: 160, wires: [[`${name}-out`, `${name}-debug`]],
    field: 'payload', fieldType: 'msg', syntax: 'mustache', format: 'text', output: 'str',
    template: 'hello, {{payload.visitor}}'
  },
  {
    id: `${name}-out`, type: 'http response', name: '', x: 510, y: 160, wires: [],
    statusCode: '201', headers: { 'content-type': 'text/plain' }
  },
  {
    id: `${name}-debug`, type: 'debug', name: '', x: 510, y: 80, wires: [], active: true, tosidebar: true,
    console: false, tostatus: false, complete: 'payload', targetType: 'msg', statusVal: '', statusType: 'auto'
  }
].map(node => node.type === 'tab' ? node : { ...node, z: `${name}-tab` })

// Asks the relay as a client that is not the browser. The name in the URL need not be known to this machine.
const ask = (url, options = {}, body) => new Promise((resolve, reject) => {
  const { host, port, pathname } = new URL(url)
  const { headers, ...others } = options
  http.request({ host: '127.0.0.1', port, path: pathname, headers: { host, ...headers }, ...others }, response => {
    let text = ''
    response.on('data', data => { text += data })
      .on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }))
  }).on('error', reject).end(body)
})

// Waits for the editor with all that belongs to it. Requests that failed, or went elsewhere, are faults.
async function loaded () {
  await check('the editor is there', `location.href.startsWith(${JSON.stringify(root)})
    && document.querySelectorAll(".red-ui-palette-node").length > 30 && Boolean(RED.workspaces.active())
    && !document.querySelector("#red-ui-loading-progress")?.checkVisibility()`)
  await check('its live connection', () => traffic.sockets().some(socket =>
    socket.url === `${root.replace('http', 'ws')}comms` && socket.status === 101 && socket.frames > 0))
  for (const type of ['Document', 'Stylesheet', 'Script', 'Font', 'Image', 'XHR']) {
    await check(`what it loads: ${type}`, () => traffic.requests().some(request => request.type === type))
  }
  await faultless()
}

async function faultless () {
  await check('all requests are answered', () => traffic.requests().every(request => request.done))
  assert.deepStrictEqual(traffic.faults(root), [])
  seen.checks++
}

async function deployed () {
  await page.evaluate(`RED.view.importNodes(${JSON.stringify(flow)}, { touchImport: true });
    RED.workspaces.show("${name}-tab"); RED.actions.invoke("core:show-debug-tab")`)
  await check('the flow waits to be deployed', 'RED.nodes.dirty()')
  await page.evaluate('document.getElementById("red-ui-header-button-deploy").click()')
  await check('the flow is deployed', () => traffic.requests().some(request =>
    request.method === 'POST' && request.url === `${root}flows` && request.status === 200))
  await check('the editor says so', `!RED.nodes.dirty() && [...document.querySelectorAll(".red-ui-notification")]
    .some(notification => notification.textContent.includes("Successfully deployed"))`)
}

const inSidebar = (text, times) => `[...document.querySelectorAll(".red-ui-debug-msg-payload")].filter(payload =>
  payload.checkVisibility() && payload.textContent === JSON.stringify(${JSON.stringify(text)})).length === ${times}`

async function pressed (times) {
  await page.evaluate(`document.querySelector("[id='${name}-button'] .red-ui-flow-node-button-button")
    .dispatchEvent(new MouseEvent("click", { bubbles: true }))`)
  await check('the button shows in the sidebar', inSidebar(`pressed in ${name}`, times))
}

async function visited () {
  const visitor = JSON.stringify({ visitor: `visitor of ${name}` })
  const answer = await ask(`${root}${name}/hello`,
    { method: 'POST', headers: { 'content-type': 'application/json', 'content-length': visitor.length } }, visitor)
  assert.strictEqual(answer.status, 201)
  assert.strictEqual(answer.text, `hello, visitor of ${name}`)
  assert.match(answer.headers['content-type'], /^text\/plain/)
  seen.checks += 3
  await check('the visitor shows in the sidebar', inSidebar(`hello, visitor of ${name}`, 1))
}

// Node-RED redirects to its folders by their paths.
async function redirected () {
  const answer = await ask(`${root}vendor`)
  assert.strictEqual(answer.status, 301)
  assert.strictEqual(new URL(answer.headers.location, `${root}vendor`).href, `${root}vendor/`)
  seen.checks += 2
}

// Leaves the editor, so that nothing it still asks for is mixed up with what comes next.
async function leave () {
  await page.call('Page.navigate', { url: 'about:blank' })
  await page.until('the editor is gone', 'location.href === "about:blank"')
  seen.requests += traffic.requests().length
  seen.unmodified += traffic.unmodified
  traffic.clear()
}

async function main () {
  page = await Page.of(debuggerUrl)
  traffic = new Traffic(page)
  for (const domain of ['Page', 'Network', 'Runtime']) await page.call(`${domain}.enable`)
  await page.call('Page.navigate', { url: address })
  await loaded()
  await deployed()
  await pressed(1)
  await pressed(2)
  await visited()
  await redirected()
  await faultless()
  await leave()
  // Once more with a full cache. What was deployed has to come from Node-RED.
  await page.call('Page.navigate', { url: root })
  await loaded()
  await check('the flow is still there', `RED.nodes.node("${name}-button")?.payload === "pressed in ${name}"`)
  await check('something was still valid', () => traffic.unmodified > 0)
  await page.evaluate(`RED.workspaces.show("${name}-tab"); RED.actions.invoke("core:show-debug-tab")`)
  await pressed(1)
  await faultless()
  await leave()
  page.close()
  console.log(JSON.stringify(seen))
}

main().catch(error => {
  console.error(error)
  console.error(traffic?.faults(root), traffic?.sockets())
  process.exit(1)
})
