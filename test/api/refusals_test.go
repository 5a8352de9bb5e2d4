package api

import (
	"cmp"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// refusal is one invalid spec.
type refusal struct {
	// name is unique in its table and says what is wrong with the spec.
	name string
	// base is the valid spec, and change what makes it invalid.
	base, change string
	// objectName is the name of the object where it matters.
	objectName string
	// claim is what the API server must say.
	claim
}

// refusals are all tables of invalid objects.
var refusals = [][]refusal{
	issuerRefusals, externalRefusals, revocationRefusals, sessionsRefusals, loginRefusals, sessionRefusals,
}

// TestRefused creates each invalid object.
func TestRefused(t *testing.T) {
	server := apiServer(t)
	for _, table := range refusals {
		for _, r := range table {
			t.Run(r.kind+"/"+r.name, func(t *testing.T) {
				name := cmp.Or(r.objectName, nameOf(r.kind))
				err := server.Create(t.Context(), object(t, r.kind, name, r.base, r.change), client.DryRunAll)
				expectRefused(t, err, r.claim)
			})
		}
	}
}

const (
	duration     = `should match '^([0-9]{1,6}(\.[0-9]{1,3})?(h|m|s|ms))+$'`
	notURL       = "issuerURL must be an absolute https URL, such as https://tokens.example.com/shop"
	notPlain     = "the path of issuerURL must be plain when signing is set: segments of letters, digits, '-', '_', '~' and '.', so that every client spells it the same"
	notPlainHost = "the host of issuerURL must be plain when signing is set: letters, digits, '-', '_' and '.', no dot at its end, and no port 443, so that every client spells it the same"
	notLower     = "the host of issuerURL must be in lower case, so that every client spells it the same"
	noUser       = "issuerURL must have no user name or password in it"
	noQuery      = "issuerURL must have no query and no fragment (OpenID Connect Discovery 1.0 section 3)"
	noSlash      = "issuerURL must not end with a slash when signing is set, because paths are appended to it"
	taken        = "the path of issuerURL must not begin with /verify, /verify-for, /tokenreview or /issuers, which the service itself answers"
)

func issuer(field, says string) claim { return claim{"TokenIssuer", field, says} }
func denial(field, says string) claim { return claim{"TokenRevocation", field, says} }
