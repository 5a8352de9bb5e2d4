// The life of a session as openid-client from npm sees it. Everything it needs comes in the environment; it prints one
// line for each thing that held, and fails on the first that did not.
import assert from 'node:assert/strict'
import * as client from 'openid-client'

const { ISSUER, REFRESH_TOKEN, REVOKED_LATER, ID_TOKEN, INTROSPECTOR } = process.env
const held = (what) => console.log(`held: ${what}`)
const invalidGrant = (error) => error.error === 'invalid_grant' && error.status === 400

const web = await client.discovery(new URL(ISSUER), 'web', undefined, client.None())
assert.equal(web.serverMetadata().issuer, ISSUER)
held('discovery')

const first = await client.refreshTokenGrant(web, REFRESH_TOKEN)
assert.notEqual(first.refresh_token, REFRESH_TOKEN)
assert.equal(first.token_type, 'bearer') // the library writes it in lower case
const second = await client.refreshTokenGrant(web, first.refresh_token)
assert.notEqual(second.refresh_token, first.refresh_token)
held('refresh tokens rotate')

const narrow = await client.refreshTokenGrant(web, second.refresh_token, { scope: 'orders:read' })
assert.equal(narrow.scope, 'orders:read')
held('a refresh can ask for fewer scopes')

const gateway = await client.discovery(new URL(ISSUER), 'gateway', undefined, (as, c, body, headers) => {
  headers.set('authorization', `Bearer ${INTROSPECTOR}`)
})
const good = await client.tokenIntrospection(gateway, narrow.access_token)
assert.equal(good.active, true)
assert.equal(good.client_id, 'web')
held('introspection of a good token')

await assert.rejects(client.refreshTokenGrant(web, first.refresh_token), invalidGrant)
await assert.rejects(client.refreshTokenGrant(web, narrow.refresh_token), invalidGrant)
held('a used token ends the session')
assert.deepEqual(await client.tokenIntrospection(gateway, narrow.access_token), { active: false })
held('and its access token at once')

await client.tokenRevocation(web, REVOKED_LATER)
await assert.rejects(client.refreshTokenGrant(web, REVOKED_LATER), invalidGrant)
await client.tokenRevocation(web, 'no token at all')
held('revocation')

const exchanged = await client.genericGrantRequest(web, 'urn:ietf:params:oauth:grant-type:token-exchange', {
  subject_token: ID_TOKEN,
  subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
  scope: 'orders:read',
})
assert.equal(exchanged.issued_token_type, 'urn:ietf:params:oauth:token-type:access_token')
assert.ok((await client.refreshTokenGrant(web, exchanged.refresh_token)).access_token)
held('token exchange')
