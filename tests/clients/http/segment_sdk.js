// Sends with Segment's own Node SDK, and prints the ids of what it sent, a JSON array.
//
// Usage: segment_sdk.js URL WRITE_KEY COUNT
const { Analytics } = require('@segment/analytics-node')

const [url, writeKey, count] = process.argv.slice(2)
const analytics = new Analytics({ writeKey, host: url, flushAt: 40, flushInterval: 100, maxRetries: 20 })
const failed = []
analytics.on('error', (error) => failed.push(String(error.reason ?? error.code ?? error)))

const sent = []
const note = (context) => {
  if (context?.event?.messageId) sent.push(context.event.messageId)
}

async function main() {
  const context = { groupId: 'acme-node' }
  const delivered = []
  for (let number = 0; number < Number(count); number++) {
    const userId = `u${number % 7}`
    delivered.push(
      new Promise((done) => {
        const end = (error, ctx) => {
          if (error) failed.push(String(error))
          note(ctx)
          done()
        }
        switch (number % 4) {
          case 0:
            return analytics.identify({ userId, traits: { role: 'member' }, context }, end)
          case 1:
            return analytics.group({ userId, groupId: 'acme-node', traits: { name: 'Acme' } }, end)
          case 2:
            return analytics.page({ userId, name: 'Home', context }, end)
          default:
            return analytics.track({ userId, event: 'Report Exported', properties: { count: 1 }, context }, end)
        }
      })
    )
  }
  await Promise.all(delivered)
  await analytics.closeAndFlush({ timeout: 60000 })
  if (failed.length > 0) throw new Error(failed.join('; '))
  console.log(JSON.stringify(sent))
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
