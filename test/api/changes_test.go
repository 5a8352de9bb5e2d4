package api

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	urlFixed    = "issuerURL is immutable, because every token carries it: create another TokenIssuer"
	sortFixed   = "signing cannot be exchanged for external or back: create another TokenIssuer"
	nameFixed   = "signing.secret.name is immutable, because pods mount it: create another TokenIssuer"
	targetFixed = "what a TokenRevocation denies is immutable: create another one"
)

// change is an update of an object that exists.
type change struct {
	// name says what is changed.
	name string
	// base and before are the spec that exists, as in object; after is put over it.
	base, before, after string
	// claim is what the API server must say, where it must refuse; its kind is needed in any case.
	claim
}

// forbiddenChanges are updates that the API server must refuse.
var forbiddenChanges = []change{
	{name: "the URL", base: signingIssuer, after: `issuerURL: https://other.shop.example`, claim: issuer("spec.issuerURL", urlFixed)},
	{name: "signing for external", base: signingIssuer, after: `{signing: null, external: {}}`, claim: issuer("spec", sortFixed)},
	{name: "external for signing", base: externalIssuer, after: `{external: null, signing: {}}`, claim: issuer("spec", sortFixed)},
	{name: "the name of the Secret", base: signingIssuer, before: `signing: {secret: {name: a}}`, after: `signing: {secret: {name: b}}`,
		claim: issuer("spec.signing.secret", nameFixed)},
	{name: "the name of the Secret, by leaving it out", base: signingIssuer, before: `signing: {secret: {name: a}}`, after: `signing: {secret: null}`,
		claim: issuer("spec.signing.secret", nameFixed)},
	{name: "the name of the Secret, by setting it later", base: signingIssuer, after: `signing: {secret: {name: a}}`,
		claim: issuer("spec.signing.secret", nameFixed)},
	{name: "the issuer", base: revocation, before: `subject: alice`, after: `issuerRef: {name: other}`, claim: denial("spec", targetFixed)},
	{name: "the subject", base: revocation, before: `subject: alice`, after: `subject: bob`, claim: denial("spec", targetFixed)},
	{name: "the sort of target", base: revocation, before: `subject: alice`, after: `{subject: null, clientID: alice}`, claim: denial("spec", targetFixed)},
	{name: "the token id", base: revocation, before: `tokenID: a`, after: `tokenID: b`, claim: denial("spec", targetFixed)},
	{name: "the session id", base: revocation, before: `sessionID: a`, after: `sessionID: b`, claim: denial("spec", targetFixed)},
	{name: "the client id", base: revocation, before: `clientID: a`, after: `clientID: b`, claim: denial("spec", targetFixed)},
	{name: "the audience", base: revocation, before: `audience: a`, after: `audience: b`, claim: denial("spec", targetFixed)},
	{name: "the key id", base: revocation, before: `keyID: a`, after: `keyID: b`, claim: denial("spec", targetFixed)},
	{name: "all for a subject", base: revocation, before: `all: true`, after: `{all: null, subject: alice}`, claim: denial("spec", targetFixed)},
	{name: "the moment", base: revocation, before: `{subject: alice, issuedBefore: "2026-01-01T00:00:00Z"}`,
		after: `issuedBefore: "2026-01-02T00:00:00Z"`, claim: denial("spec", targetFixed)},
	{name: "the moment, by setting it later", base: revocation, before: `subject: alice`,
		after: `issuedBefore: "2026-01-02T00:00:00Z"`, claim: denial("spec", targetFixed)},
}

func TestForbiddenChanges(t *testing.T) {
	server := apiServer(t)
	for _, c := range append(forbiddenSessionChanges, forbiddenChanges...) {
		t.Run(c.kind+"/"+c.name, func(t *testing.T) {
			expectRefused(t, update(t, server, c), c.claim)
		})
	}
}

func TestAllowedChanges(t *testing.T) {
	server := apiServer(t)
	for _, c := range []change{
		{name: "the algorithm", base: signingIssuer, after: `signing: {algorithm: PS256, keySize: 3072}`, claim: issuer("", "")},
		{name: "the period", base: signingIssuer, after: `signing: {rotation: {period: 24h}}`, claim: issuer("", "")},
		{name: "the export", base: signingIssuer, after: `signing: {secret: {export: false}}`, claim: issuer("", "")},
		{name: "the audiences", base: signingIssuer, after: `audiences: [a, b]`, claim: issuer("", "")},
		{name: "the place of the keys", base: externalIssuer, before: `external: {fromCluster: true}`,
			after: `external: {fromCluster: false, jwksURL: "https://login.shop.example/keys"}`, claim: issuer("", "")},
		{name: "the reason", base: revocation, before: `subject: alice`, after: `reason: left the company`, claim: denial("", "")},
		{name: "a refresh", base: session, before: usedSession,
			after: `state: {generation: 6, rotatedAt: "2026-01-02T00:00:00.000000Z", idleUntil: "2026-01-05T00:00:00.000000Z"}`, claim: login("", "")},
		{name: "the end of a session", base: session, before: usedSession, after: endedSession, claim: login("", "")},
		{name: "sessions, by setting them later", base: signingIssuer, after: `sessions: {login: {serviceAccounts: {}}}`, claim: issuer("", "")},
		{name: "sessions, by taking them away", base: sessionsIssuer, after: `sessions: null`, claim: issuer("", "")},
		{name: "the retention", base: revocation, before: `all: true`, after: `retainAfterExpiry: true`, claim: denial("", "")},
	} {
		t.Run(c.kind+"/"+c.name, func(t *testing.T) {
			if err := update(t, server, c); err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

// update creates the object, changes it, deletes it again and returns what the API server said to the change.
func update(t *testing.T, server client.Client, c change) error {
	t.Helper()
	existing := object(t, c.kind, nameOf(c.kind), c.base, c.before)
	if err := server.Create(t.Context(), existing); err != nil {
		t.Fatalf("the spec before the change is refused: %v", err)
	}
	defer func() {
		if err := server.Delete(t.Context(), existing); err != nil {
			t.Errorf("deleting the object: %v", err)
		}
	}()
	changed := existing.DeepCopy()
	putOver(t, changed, c.after)
	return server.Update(t.Context(), changed, client.DryRunAll)
}

// putOver changes the object by a JSON merge patch in YAML.
func putOver(t *testing.T, target *unstructured.Unstructured, patch string) {
	t.Helper()
	overlay(changeable(target), fieldsOf(t, patch))
}
